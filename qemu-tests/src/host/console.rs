// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which lines of the kernel's console say that something is wrong with the kernel.

/// Parts of such lines. All are written by the kernel itself when it, or a module, misbehaves.
const PROBLEMS: [&str; 28] = [
    "WARNING:",
    "BUG:",
    "BUG at ",
    "Oops",
    "Kernel panic",
    "kernel panic",
    "rust_kernel: panicked",
    "general protection fault",
    "unable to handle",
    "invalid opcode",
    "unregister_netdevice: waiting",
    "INFO: task ",
    "rcu_preempt detected",
    "rcu_sched detected",
    "detected stalls",
    "self-detected stall",
    "circular locking",
    "suspicious RCU usage",
    "inconsistent lock state",
    "held lock freed",
    "scheduling while atomic",
    "sleeping function called from invalid context",
    "refcount_t:",
    "list_add corruption",
    "list_del corruption",
    "ref_tracker:",
    "suspected memory leaks",
    "Call Trace:",
];

/// What the debug kernel says when a test has its own record of a reference fail, which is counted all
/// the same (`ref_tracker_alloc()`, lib/ref_tracker.c).
const FAILED_ON_PURPOSE: &str = "ref_tracker: memory allocation failure";

/// Whether a line of the console says that the kernel is in trouble.
pub fn is_problem(line: &str) -> bool {
    PROBLEMS.iter().any(|part| line.contains(part)) && !line.contains(FAILED_ON_PURPOSE)
}

#[cfg(test)]
mod tests {
    use super::is_problem;

    #[test]
    fn lines_of_a_kernel_in_trouble_are_recognised() {
        for line in [
            "[   12.3] WARNING: net/core/dst.c:147 at dst_release+0x1/0x2, CPU#0: swapper/0/0",
            "[   12.3] BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "[   12.3] Oops: general protection fault, probably for non-canonical address 0x1",
            "[   12.3] unregister_netdevice: waiting for west to become free. Usage count = 2",
            "[   12.3] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[   12.3] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [rmmod:123]",
            "[   12.3] rust_kernel: panicked at lrep.rs:1:2:",
            "[   12.3] ref_tracker: reference already released.",
        ] {
            assert!(is_problem(line), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_left_alone() {
        for line in [
            "[    5.1] lreproxy: loading out-of-tree module taints kernel.",
            "[    5.1] lreproxy: module verification failed: signature and/or required key missing",
            "[    5.1] clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x229f70b8a7c",
            "[    5.1] IPv6: ADDRCONF(NETDEV_CHANGE): west: link becomes ready",
            "[   12.3] ref_tracker: memory allocation failure, unreliable refcount tracker.",
        ] {
            assert!(!is_problem(line), "{line}");
        }
    }
}
