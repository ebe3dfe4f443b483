// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever stands in a configuration file: what is wrong with it is named, or the daemon can work
//! with it; what was read is written and read again as the same.

use lrep_cl::config::Settings;

use crate::{is_named, is_same};

/// A file.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let settings: Settings = match toml::from_str(text) {
        Ok(settings) => settings,
        Err(error) => return is_named(&error),
    };
    let written = toml::to_string(&settings).expect("TOML");
    is_same(toml::from_str(&written).ok().as_ref(), &settings);
    let config = match settings.config() {
        Ok(config) => config,
        Err(error) => return is_named(&error),
    };
    assert!(!config.listen.is_empty() && !config.tsls.is_empty());
    assert!(config.timeouts.min <= config.timeouts.max);
    for tsl in config.tsls {
        assert!(!tsl.ports.is_empty());
        for range in tsl.ports {
            assert!(range.first >= 1024 && range.first % 2 == 0);
            assert!(range.first < range.last);
        }
    }
}
