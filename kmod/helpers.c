// SPDX-License-Identifier: GPL-2.0
#include "helpers.h"

#include <linux/bottom_half.h>
#include <linux/icmpv6.h>
#include <linux/ipv6.h>
#include <linux/jiffies.h>
#include <linux/rcupdate.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ndisc.h>
#include <net/neighbour.h>
#include <net/netns/generic.h>

struct dst_entry *lrep_dst_check(struct dst_entry *dst, u32 cookie) { return dst_check(dst, cookie); }
u32 lrep_dst_mtu(const struct dst_entry *dst) { return dst_mtu(dst); }
void lrep_dst_output(struct net *net, struct sk_buff *skb) { dst_output(net, NULL, skb); }

u32 lrep_rt6_get_cookie(const struct rt6_info *rt) { return rt6_get_cookie(rt); }
bool lrep_ipv6_mod_enabled(void) { return ipv6_mod_enabled(); }

/* What all packets leave by: all of it inlined, and left by a jump. */
static inline void output(struct neighbour *n, struct sk_buff *skb, bool skip_cache) { IS_ERR(n) ? kfree_skb(skb) : (void)neigh_output(n, skb, skip_cache); }
__flatten void lrep_output_gw4(struct net_device *dev, __be32 daddr, struct sk_buff *skb) { output(ip_neigh_gw4(dev, daddr), skb, false); }
__flatten void lrep_output_gw6(const struct rt6_info *rt, struct sk_buff *skb) { output(ip_neigh_gw6(rt->dst.dev, rt6_nexthop(rt, &ipv6_hdr(skb)->daddr)), skb, false); }
void lrep_output_for_gw(struct rtable *rt, struct sk_buff *skb) { bool is_v6gw = false; struct neighbour *n = ip_neigh_for_gw(rt, skb, &is_v6gw); output(n, skb, is_v6gw); }

void lrep_nf_reset_ct(struct sk_buff *skb) { nf_reset_ct(skb); }
void lrep_skb_ext_reset(struct sk_buff *skb) { skb_ext_reset(skb); }
void lrep_skb_dst_drop(struct sk_buff *skb) { skb_dst_drop(skb); }
bool lrep_pskb_may_pull(struct sk_buff *skb, unsigned int len) { return pskb_may_pull(skb, len); }
bool lrep_skb_is_gso(const struct sk_buff *skb) { return skb_is_gso(skb); }
unsigned int lrep_skb_gso_segs(const struct sk_buff *skb) { return skb_shinfo(skb)->gso_segs; }
int lrep_skb_cow_head(struct sk_buff *skb, unsigned int headroom) { return skb_cow_head(skb, headroom); }
void lrep_skb_reset_network_header(struct sk_buff *skb) { skb_reset_network_header(skb); }
void lrep_skb_set_transport_header(struct sk_buff *skb, int offset) { skb_set_transport_header(skb, offset); }
void lrep_icmpv6_send(struct sk_buff *skb, u8 type, u8 code, u32 info) { icmpv6_send(skb, type, code, info); }
void lrep_icmp_send(struct sk_buff *skb, int type, int code, __be32 info) { icmp_send(skb, type, code, info); }

void lrep_ip_send_check(struct iphdr *iph) { ip_send_check(iph); }
char lrep_rt_tos2priority(u8 tos) { return rt_tos2priority(tos); }

void *lrep_net_generic(const struct net *net, unsigned int id) { return net_generic(net, id); }

struct net *lrep_genl_info_net(const struct genl_info *info) { return genl_info_net(info); }
const struct genl_info *lrep_genl_info_dump(struct netlink_callback *cb) { return genl_info_dump(cb); }
struct sk_buff *lrep_genlmsg_new(size_t payload, gfp_t flags) { return genlmsg_new(payload, flags); }
void lrep_genlmsg_end(struct sk_buff *skb, void *hdr) { genlmsg_end(skb, hdr); }
void lrep_genlmsg_cancel(struct sk_buff *skb, void *hdr) { genlmsg_cancel(skb, hdr); }
int lrep_genlmsg_reply(struct sk_buff *skb, struct genl_info *info) { return genlmsg_reply(skb, info); }
int lrep_genlmsg_multicast_netns(const struct genl_family *family, struct net *net, struct sk_buff *skb, unsigned int group, gfp_t flags) { return genlmsg_multicast_netns(family, net, skb, 0, group, flags); }
bool lrep_genl_has_listeners(const struct genl_family *family, struct net *net, unsigned int group) { return genl_has_listeners(family, net, group); }
int lrep_genl_set_err(const struct genl_family *family, struct net *net, unsigned int group, int code) { return genl_set_err(family, net, 0, group, code); }
void lrep_nlmsg_free(struct sk_buff *skb) { nlmsg_free(skb); }

void lrep_init_delayed_work(struct delayed_work *work, work_func_t func) { INIT_DELAYED_WORK(work, func); }
bool lrep_queue_delayed_work(struct delayed_work *work, unsigned long delay) { return queue_delayed_work(system_dfl_wq, work, delay); }

void lrep_local_bh_disable(void) { local_bh_disable(); }
void lrep_local_bh_enable(void) { local_bh_enable(); }

void lrep_call_rcu(struct rcu_head *head, rcu_callback_t func) { call_rcu(head, func); }
