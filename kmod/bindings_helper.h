/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the kernel headers the module needs, and the inline
 * functions that helpers.c gives a symbol.
 */
#ifndef LREP_BINDINGS_HELPER_H
#define LREP_BINDINGS_HELPER_H

#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6_route.h>
#include <linux/jiffies.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rcupdate.h>
#include <linux/skbuff.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>
#include <net/dst.h>
#include <net/genetlink.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ipv6.h>
#include <net/neighbour.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include <net/route.h>

#include "helpers.h"

/* Macros bindgen cannot evaluate. */
static const u32 LREP_NF_ACCEPT = NF_ACCEPT;
static const u32 LREP_NF_DROP = NF_DROP;
static const u32 LREP_NF_STOLEN = NF_STOLEN;
static const gfp_t LREP_GFP_KERNEL = GFP_KERNEL;
static const gfp_t LREP_GFP_ATOMIC = GFP_ATOMIC;
static const unsigned long LREP_SKB_DST_NOREF = SKB_DST_NOREF;
static const unsigned int LREP_SKB_GSO_DODGY = SKB_GSO_DODGY;
static const unsigned int LREP_SKB_GSO_FRAGLIST = SKB_GSO_FRAGLIST;
static const size_t LREP_GENLMSG_DEFAULT_SIZE = GENLMSG_DEFAULT_SIZE;
static const u8 LREP_GENL_MCAST_CAP_NET_ADMIN = GENL_MCAST_CAP_NET_ADMIN;
static const unsigned long LREP_HZ = HZ;

/* Of a type whose fields are not generated: what rt_genid_ipv4() reads, and what fib6_new_sernum()
 * counts. Each is an atomic_t. */
static const size_t LREP_RT_GENID_IPV4 = offsetof(struct net, ipv4.rt_genid);
static const size_t LREP_FIB6_SERNUM = offsetof(struct net, ipv6.fib6_sernum);

#endif
