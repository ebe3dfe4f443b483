// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernels of a host, and which of them have the module.
//!
//! An update brings a new kernel, for which the module has to be built. Whoever forgets it notices
//! when the host is started the next time: no call is relayed then.

use super::Finding;

/// A kernel that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its release, as `uname -r` tells it.
    pub release: String,
    /// Whether the module was installed for it.
    pub has_module: bool,
}

impl Kernel {
    /// The kernel of this release, by its list of modules (`modules.dep`).
    pub fn new(release: &str, modules: &str) -> Self {
        let is_ours = |line: &str| {
            let path = line.split(':').next().unwrap_or_default();
            let file = path.rsplit('/').next().unwrap_or_default();
            // It may be compressed.
            file == "lreproxy.ko" || file.starts_with("lreproxy.ko.")
        };
        Self {
            release: release.to_owned(),
            has_module: modules.lines().any(is_ours),
        }
    }
}

/// Whether the host can be started with any kernel that is newer than the `running` one.
pub fn updates(running: &str, installed: &[Kernel]) -> Finding {
    let without = installed
        .iter()
        .filter(|kernel| version(&kernel.release) > version(running) && !kernel.has_module);
    match without.max_by_key(|kernel| version(&kernel.release)) {
        None => Finding::good(
            "kernel",
            format!("{running}, and no newer one without the module"),
        ),
        Some(kernel) => Finding::advice(
            "kernel",
            format!(
                "{} is installed and has no module: no call is relayed once the host is started with it",
                kernel.release
            ),
            format!(
                "make modules KDIR=/usr/src/linux-headers-{} && make install # in the sources of \
                 lreproxy",
                kernel.release
            ),
        ),
    }
}

/// The numbers of a release, without what names its kind: 7.3.4+deb13-cloud-amd64 is 7, 3, 4, 13.
fn version(release: &str) -> Vec<u64> {
    let parts = release.split('-');
    parts
        .take_while(|part| part.starts_with(|first: char| first.is_ascii_digit()))
        .flat_map(|part| part.split(|letter: char| !letter.is_ascii_digit()))
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn kernel(release: &str, has_module: bool) -> Kernel {
        Kernel {
            release: release.to_owned(),
            has_module,
        }
    }

    #[test]
    fn a_kernel_has_the_module_when_its_list_names_it() {
        for (modules, has_module) in [
            ("updates/lreproxy.ko: kernel/net/a.ko\n", true),
            ("kernel/a.ko:\nextra/lreproxy.ko.xz:\n", true),
            ("kernel/a.ko: updates/lreproxy.ko\n", false),
            ("updates/other-lreproxy.ko:\n", false),
            ("", false),
        ] {
            assert_eq!(Kernel::new("7.3.4-amd64", modules).has_module, has_module);
        }
    }

    #[test]
    fn releases_are_in_the_order_they_came_out() {
        let releases = [
            "6.1.0-9-amd64",
            "6.1.0-28-cloud-amd64",
            "6.12.9+deb13-amd64",
            "6.12.43+deb13-amd64",
            "6.12.43+deb13.1-amd64",
            "7.3.4+deb13-amd64",
            "7.3.10+deb13-amd64",
        ];
        assert!(releases.is_sorted_by(|a, b| version(a) < version(b)));
        assert_eq!(
            version("7.3.4+deb13-amd64"),
            version("7.3.4+deb13-rt-amd64")
        );
    }

    #[test]
    fn only_a_newer_kernel_without_the_module_is_told() {
        let running = "7.3.4+deb13-amd64";
        let others = [
            kernel("6.12.43+deb13-amd64", false),
            kernel(running, false),
            kernel("7.3.6+deb13-amd64", true),
        ];
        assert_eq!(updates(running, &others).verdict, Verdict::Good);
        let two = [
            kernel("7.3.10+deb13-amd64", false),
            kernel("7.3.9+deb13-amd64", false),
        ];
        let finding = updates(running, &[&others[..], &two].concat());
        assert_eq!(finding.verdict, Verdict::Advice);
        let cure = finding.cure.expect("a cure");
        assert!(cure.contains("linux-headers-7.3.10+deb13-amd64 "), "{cure}");
    }
}
