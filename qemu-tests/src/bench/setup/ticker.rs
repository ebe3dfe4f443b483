// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long the module's clock works at each of its ticks, as the kernel's tracing tells it
//! (Documentation/trace/events.rst).

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

const TRACING: &str = "/sys/kernel/tracing";

/// The lengths of the ticks that begin within `time`, in units of the time stamp counter.
pub fn ticks(time: Duration) -> Result<Vec<u64>> {
    if !Path::new(TRACING).join("trace").exists() {
        mount(
            Some("tracefs"),
            TRACING,
            Some("tracefs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("cannot mount {TRACING}"))?;
    }
    let set = |name: &str, value: &str| {
        let path = format!("{TRACING}/{name}");
        fs::write(&path, value).with_context(|| format!("cannot set {path} to {value}"))
    };
    set("trace_clock", "x86-tsc")?;
    set("trace", "")?;
    let events = [
        "events/workqueue/workqueue_execute_start/enable",
        "events/workqueue/workqueue_execute_end/enable",
    ];
    for event in events {
        set(event, "1")?;
    }
    sleep(time);
    for event in events {
        set(event, "0")?;
    }
    let path = format!("{TRACING}/trace");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(lengths(&text))
}

/// From the start of each task of the module to its end.
fn lengths(trace: &str) -> Vec<u64> {
    let mut began: Option<(&str, u64)> = None;
    let mut lengths = Vec::new();
    for line in trace.lines() {
        let Some((before, after)) = line
            .split_once(": workqueue_execute_")
            .filter(|_| !line.starts_with('#'))
        else {
            continue;
        };
        let clock = before.rsplit(' ').next().and_then(|text| text.parse().ok());
        let task = after
            .split_once("work struct ")
            .and_then(|(_, rest)| rest.split([':', ' ']).next());
        let (Some(clock), Some(task)) = (clock, task) else {
            continue;
        };
        if after.starts_with("start") {
            if after.contains("[lreproxy]") {
                began = Some((task, clock));
            }
        } else if let Some((_, start)) = began.take_if(|(ours, _)| *ours == task) {
            lengths.push(clock.saturating_sub(start));
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::lengths;

    #[test]
    fn only_the_module_s_tasks_are_measured() {
        let trace = "# tracer: nop
     kworker/0:1-9   [000] d..1. 1000: workqueue_execute_start: work struct 000000001: function run [lreproxy]
     kworker/0:1-9   [000] d..1. 1700: workqueue_execute_end: work struct 000000001: function run [lreproxy]
     kworker/0:1-9   [000] d..1. 2000: workqueue_execute_start: work struct 000000002: function vmstat_update
     kworker/0:1-9   [000] d..1. 2500: workqueue_execute_end: work struct 000000002: function vmstat_update
";
        assert_eq!(lengths(trace), [700]);
    }
}
