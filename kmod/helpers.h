/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Symbols for functions the kernel only has inline. One line each in helpers.c:
 * no decision is made in C.
 */
#ifndef LREP_HELPERS_H
#define LREP_HELPERS_H

#include <linux/skbuff.h>
#include <linux/workqueue.h>
#include <net/dst.h>
#include <net/genetlink.h>
#include <net/ip6_fib.h>
#include <net/route.h>

/* include/net/dst.h, include/net/route.h */
struct dst_entry *lrep_dst_check(struct dst_entry *dst, u32 cookie);
u32 lrep_dst_mtu(const struct dst_entry *dst);
void lrep_dst_output(struct net *net, struct sk_buff *skb);

/* include/net/ndisc.h, include/net/ip6_fib.h, include/linux/ipv6.h */
u32 lrep_rt6_get_cookie(const struct rt6_info *rt);
bool lrep_ipv6_mod_enabled(void);

/*
 * include/net/neighbour.h: the neighbour and the way to it, in one symbol for the sake of speed.
 * They consume the packet, also when there is no memory for a neighbour.
 */
void lrep_output_gw4(struct net_device *dev, __be32 daddr, struct sk_buff *skb);
void lrep_output_for_gw(struct rtable *rt, struct sk_buff *skb);
void lrep_output_gw6(const struct rt6_info *rt, struct sk_buff *skb);

/* include/linux/skbuff.h, include/net/icmp.h, include/linux/icmpv6.h */
void lrep_nf_reset_ct(struct sk_buff *skb);
void lrep_skb_ext_reset(struct sk_buff *skb);
void lrep_skb_dst_drop(struct sk_buff *skb);
bool lrep_pskb_may_pull(struct sk_buff *skb, unsigned int len);
bool lrep_skb_is_gso(const struct sk_buff *skb);
unsigned int lrep_skb_gso_segs(const struct sk_buff *skb);
int lrep_skb_cow_head(struct sk_buff *skb, unsigned int headroom);
void lrep_skb_reset_network_header(struct sk_buff *skb);
void lrep_skb_set_transport_header(struct sk_buff *skb, int offset);
void lrep_icmpv6_send(struct sk_buff *skb, u8 type, u8 code, u32 info);
void lrep_icmp_send(struct sk_buff *skb, int type, int code, __be32 info);

/* include/net/ip.h */
void lrep_ip_send_check(struct iphdr *iph);
char lrep_rt_tos2priority(u8 tos);

/* include/net/netns/generic.h */
void *lrep_net_generic(const struct net *net, unsigned int id);

/* include/net/genetlink.h, include/net/netlink.h */
struct net *lrep_genl_info_net(const struct genl_info *info);
const struct genl_info *lrep_genl_info_dump(struct netlink_callback *cb);
struct sk_buff *lrep_genlmsg_new(size_t payload, gfp_t flags);
void lrep_genlmsg_end(struct sk_buff *skb, void *hdr);
void lrep_genlmsg_cancel(struct sk_buff *skb, void *hdr);
int lrep_genlmsg_reply(struct sk_buff *skb, struct genl_info *info);
int lrep_genlmsg_multicast_netns(const struct genl_family *family, struct net *net,
				 struct sk_buff *skb, unsigned int group, gfp_t flags);
bool lrep_genl_has_listeners(const struct genl_family *family, struct net *net,
			     unsigned int group);
int lrep_genl_set_err(const struct genl_family *family, struct net *net,
		      unsigned int group, int code);
void lrep_nlmsg_free(struct sk_buff *skb);

/* include/linux/workqueue.h, include/linux/jiffies.h */
void lrep_init_delayed_work(struct delayed_work *work, work_func_t func);
bool lrep_queue_delayed_work(struct delayed_work *work, unsigned long delay);

/* include/linux/bottom_half.h */
void lrep_local_bh_disable(void);
void lrep_local_bh_enable(void);

/* include/linux/rcupdate.h */
void lrep_call_rcu(struct rcu_head *head, rcu_callback_t func);

#endif
