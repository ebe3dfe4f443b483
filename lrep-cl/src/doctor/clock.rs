// SPDX-License-Identifier: MIT OR Apache-2.0

//! The clocks of a host: how fast one can be read, and whether the other is right.

use super::Finding;

/// Whether the clock that packets are timed with can be read fast.
pub fn source(source: &str) -> Finding {
    match source {
        "tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter" => {
            Finding::good("clock", source)
        }
        _ => Finding::advice(
            "clock",
            format!("{source} is slow to read, which every packet pays for"),
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource # or \
             kvm-clock: what available_clocksource beside it names; clocksource= keeps it over a boot",
        ),
    }
}

/// Whether the kernel holds the time of day for synchronised (adjtimex(2)), and who is to see to it;
/// `shown` is what `timedatectl show` says, a property a line.
pub fn time(shown: &str) -> Finding {
    let is = |property: &str| {
        let mut lines = shown.lines().filter_map(|line| line.split_once('='));
        lines.any(|line| line == (property, "yes"))
    };
    if is("NTPSynchronized") {
        return Finding::good("time", "synchronised");
    }
    let found = |why| {
        format!(
            "not synchronised, {why}: the log tells wrong times, and certificates of media hosts \
             may count as expired"
        )
    };
    if !is("CanNTP") {
        Finding::advice(
            "time",
            found("and nothing is installed that would do it"),
            "apt-get install systemd-timesyncd && timedatectl set-ntp true",
        )
    } else if !is("NTP") {
        Finding::advice(
            "time",
            found("it is switched off"),
            "timedatectl set-ntp true",
        )
    } else {
        Finding::advice(
            "time",
            found("no server was reached yet"),
            "timedatectl set-ntp false && timedatectl set-ntp true # NTP= in \
             /etc/systemd/timesyncd.conf names servers",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_slow_clock_is_told() {
        assert_eq!(source("tsc").verdict, Verdict::Good);
        assert_eq!(source("acpi_pm").verdict, Verdict::Advice);
    }

    #[test]
    fn a_time_that_nobody_keeps_right_is_told_with_who_could() {
        let shown = |can, does, is| format!("CanNTP={can}\nNTP={does}\nNTPSynchronized={is}\n");
        assert_eq!(time(&shown("yes", "yes", "yes")).verdict, Verdict::Good);
        // As when the hypervisor sets the clock.
        assert_eq!(time(&shown("no", "no", "yes")).verdict, Verdict::Good);
        for (can, does, cure) in [
            ("no", "no", "apt-get install systemd-timesyncd"),
            ("yes", "no", "timedatectl set-ntp true"),
            ("yes", "yes", "timedatectl set-ntp false && "),
        ] {
            let finding = time(&shown(can, does, "no"));
            assert_eq!(finding.verdict, Verdict::Advice);
            let told = finding.cure.expect("a cure");
            assert!(told.starts_with(cure), "{told}");
        }
    }
}
