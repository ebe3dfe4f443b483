// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever `nft -j list ruleset` prints: every finding about it says what it is about and what was
//! found.

use lrep_cl::doctor::{Taker, firewall};

/// What it printed.
pub fn check(bytes: &[u8]) {
    let Ok(ruleset) = serde_json::from_slice(bytes) else {
        return;
    };
    for taker in [Taker::Module, Taker::Socket] {
        let findings = firewall::nft(&ruleset, taker, &[20_000..=29_999, 40_000..=49_999]);
        assert!(!findings.is_empty());
        for finding in findings {
            assert!(!finding.about.is_empty() && !finding.found.is_empty());
        }
    }
}
