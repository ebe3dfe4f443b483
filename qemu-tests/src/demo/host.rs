// SPDX-License-Identifier: MIT OR Apache-2.0

//! The host's part: boots the guest, prints what it shows, and says what to do next.

use std::io::{Stdout, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use terminal_size::{Width, terminal_size};

use super::checks::Check;
use super::screen::Screen;
use super::{NAME, Shown};
use crate::host::Kernel;
use crate::host::console::is_problem;
use crate::host::follow::follow;
use crate::host::image::Image;
use crate::host::remove_directory;
use crate::host::vm::{Clock, Vm};
use crate::protocol::{Order, Report};

/// A guest that shows nothing for this long hangs. Nothing it waits for may take half a minute.
const PATIENCE: Duration = Duration::from_secs(120);

const TITLE: &str = "demo: a call between two networks, its audio forwarded by the kernel";

const NEXT: &str = "
What to do next
  make test                         every promise of README.md, tested in this same guest
  make guest-shell                  a shell in the guest, to look around
  qemu-tests/assets/kamailio.cfg    the configuration Kamailio ran with
  build/qemu-tests/demo/            captures (for Wireshark) and logs of this call
  README.md, \"Use it on a host\"     the way to relay your own calls
";

/// Shows the demonstration. An error says what did not go as it should.
pub fn run() -> Result<ExitCode> {
    let began = Instant::now();
    let image = Image::prepare(Kernel::Stock)?;
    let evidence = image.work().join(NAME);
    remove_directory(&evidence)?;
    let columns = terminal_size().map(|(Width(columns), _)| usize::from(columns));
    let mut terminal = Terminal(Screen::new(stdout(), columns));
    terminal.show(Shown::Text(TITLE.to_owned()))?;
    let mut vm = terminal.boot(&image)?;
    terminal.play(&mut vm).with_context(|| {
        let what = "the call did not go as it should";
        // A guest that could not go on has kept nothing.
        if evidence.is_dir() {
            format!("{what} (captures and logs: {})", evidence.display())
        } else {
            what.to_owned()
        }
    })?;
    must_be_sound(&vm.stop())?;
    let sound = "the kernel's console shows no WARNING, BUG or oops, from boot to power-off";
    terminal.show(Shown::Text(Check::new(true, sound).to_string()))?;
    terminal.show(Shown::Text(NEXT.to_owned()))?;
    let seconds = began.elapsed().as_secs_f64();
    terminal.show(Shown::Text(format!("done in {seconds:.0} s")))?;
    Ok(ExitCode::SUCCESS)
}

/// The user's terminal, or what stands in for it.
struct Terminal(Screen<Stdout>);

impl Terminal {
    fn show(&mut self, shown: Shown) -> Result<()> {
        self.0.show(shown).context("cannot write to the terminal")
    }

    fn boot(&mut self, image: &Image) -> Result<Vm> {
        let what = "boot Debian's own kernel in QEMU, emulated";
        self.show(Shown::Begins(what.to_owned()))?;
        let vm = Vm::boot(image, Clock::Host);
        self.show(Shown::Over(match &vm {
            Ok(vm) => format!("{:.1} s: {}", vm.boot.as_secs_f64(), vm.kernel),
            Err(_) => "failed".to_owned(),
        }))?;
        let vm = vm?;
        must_be_sound(&vm.boot_console)?;
        Ok(vm)
    }

    /// Has the guest place the call and prints what it shows.
    fn play(&mut self, vm: &mut Vm) -> Result<()> {
        follow(vm, &Order::Demo, NAME, PATIENCE, |_, report| match report {
            Report::Show(shown) => self.show(shown),
            Report::Step(text) => self.show(Shown::Text(text)),
            _ => Ok(()),
        })
    }
}

fn must_be_sound(console: &[String]) -> Result<()> {
    match console.iter().find(|line| is_problem(line)) {
        Some(line) => bail!("the kernel is in trouble: {line}"),
        None => Ok(()),
    }
}
