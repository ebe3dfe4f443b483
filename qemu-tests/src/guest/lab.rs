// SPDX-License-Identifier: MIT OR Apache-2.0

//! What one test works with: its log, and the captures kept when it fails.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::capture::Capture;
use super::netns::Namespace;
use crate::protocol::{SHARE, WORK};

/// One test's laboratory.
pub struct Lab {
    test: String,
    step: Box<dyn Fn(&str) + Send + Sync>,
    captures: Mutex<Vec<Capture>>,
    files: Mutex<Vec<PathBuf>>,
}

impl Lab {
    /// A laboratory for the test of this name, which tells its steps by `step`.
    pub fn new(test: &str, step: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            test: test.to_owned(),
            step: Box::new(step),
            captures: Mutex::default(),
            files: Mutex::default(),
        }
    }

    /// Tells the runner how far the test got. It lands in the log, and it shows that the test
    /// does not hang.
    pub fn step(&self, text: impl AsRef<str>) {
        (self.step)(text.as_ref());
    }

    /// Captures what arrives at a device.
    pub fn capture(&self, namespace: &Namespace, device: &str) -> Result<Capture> {
        let capture = Capture::start(namespace, device)?;
        lock(&self.captures).push(capture.clone());
        Ok(capture)
    }

    /// Captures what passes all devices.
    pub fn capture_everywhere(&self, namespace: &Namespace) -> Result<Capture> {
        let capture = Capture::start_everywhere(namespace)?;
        lock(&self.captures).push(capture.clone());
        Ok(capture)
    }

    /// Ends all captures and forgets what they saw. Tests with endless traffic would fill the
    /// memory otherwise.
    pub fn forget_captures(&self) {
        lock(&self.captures).clear();
    }

    /// A file the programs under test write, which is kept when the test fails.
    pub fn file(&self, name: &str) -> PathBuf {
        let path = PathBuf::from("/tmp").join(name);
        lock(&self.files).push(path.clone());
        path
    }

    /// Where the evidence of a failure goes.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(SHARE).join(WORK).join(&self.test)
    }

    /// Keeps captures and files for whoever looks into a failure.
    pub fn keep_evidence(&self) {
        if let Err(error) = self.try_keep_evidence() {
            self.step(format!("evidence is incomplete: {error:#}"));
        }
    }

    fn try_keep_evidence(&self) -> Result<()> {
        let directory = self.directory();
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        for capture in lock(&self.captures).iter() {
            capture.write(&directory.join(format!("{}.pcap", capture.name())))?;
        }
        for file in lock(&self.files).iter().filter(|file| file.exists()) {
            if let Some(name) = file.file_name() {
                fs::copy(file, directory.join(name))
                    .with_context(|| format!("cannot keep {}", file.display()))?;
            }
        }
        Ok(())
    }

    /// Removes what the test left behind in the guest.
    pub fn clean_up(&self) {
        lock(&self.captures).clear();
        for file in lock(&self.files).drain(..) {
            // It may never have been written.
            let _ = fs::remove_file(file);
        }
    }
}

/// A test may panic while it holds the list; the list is sound all the same.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
