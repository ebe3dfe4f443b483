// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where a packet's instructions go: from a log of all instructions to a count for each function.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::BufRead;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{BATCH, Point};

/// Sessions that are set up for a profile.
pub const SESSIONS: usize = 1_000;

/// What happens between the two ends of the system call that sends a batch.
const SEND: &str = "__x64_sys_sendmmsg";

/// The lowest address of the kernel's half of the address space
/// (Documentation/arch/x86/x86_64/mm.rst).
const KERNEL: u64 = 1 << 63;

/// Where the instructions go at one point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Where.
    #[serde(flatten)]
    pub point: Point,
    /// Instructions per packet of each function.
    pub functions: BTreeMap<String, f64>,
}

impl Profile {
    /// Instructions of all functions.
    pub fn instructions(&self) -> f64 {
        self.functions.values().sum()
    }

    /// Whether these are the instructions counted in another network. Hash functions differ
    /// between networks, and with them the length of a chain here and there.
    pub fn adds_up_to(&self, counted: f64) -> bool {
        (self.instructions() - counted).abs() <= counted * 0.005
    }
}

/// How often each instruction was executed, by its address.
pub type Counts = BTreeMap<u64, u64>;

/// The kernel's functions.
pub struct Symbols(Vec<(u64, String)>);

impl Symbols {
    /// Reads what /proc/kallsyms says: a line `ADDRESS TYPE NAME [MODULE]` for each symbol.
    pub fn parse(text: &str) -> Self {
        let mut functions: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let address = u64::from_str_radix(words.next()?, 16).ok()?;
                let is_code = matches!(words.next()?, "t" | "T" | "w" | "W");
                let name = words.next()?.to_owned();
                is_code.then_some((address, name))
            })
            .collect();
        functions.sort_by_key(|(address, _)| *address);
        Self(functions)
    }

    /// Where a function begins.
    fn address(&self, name: &str) -> Option<u64> {
        let (address, _) = self.0.iter().find(|(_, found)| found == name)?;
        Some(*address)
    }

    /// The function an address is in, and how far behind its beginning.
    fn locate(&self, address: u64) -> (String, u64) {
        let after = self.0.partition_point(|(begin, _)| *begin <= address);
        match after.checked_sub(1).and_then(|at| self.0.get(at)) {
            Some((begin, name)) => (
                format!("{:#}", rustc_demangle::demangle(name)),
                address - begin,
            ),
            None => ("unknown".to_owned(), address),
        }
    }
}

/// The instructions of each batch in a log, without what lies between them.
///
/// The lines are those of QEMU's `-d exec`: `Trace CPU: HOST [CS/ADDRESS/FLAGS/FLAGS] ` before an
/// instruction, and `Stopped execution of TB chain before HOST [ADDRESS] ` when it was not
/// executed after all.
pub fn batches(log: impl BufRead, symbols: &Symbols) -> Result<Vec<Counts>> {
    let begin = symbols
        .address(SEND)
        .with_context(|| format!("the kernel has no function {SEND}"))?;
    let mut batches: Vec<Counts> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        let line = line.context("cannot read the log of instructions")?;
        let address = address(&line);
        if let Some(address) = address.filter(|_| line.starts_with("Trace ")) {
            if address == begin {
                batches.push(Counts::new());
                inside = true;
            } else if address < KERNEL {
                inside = false;
            }
            if let Some(batch) = batches.last_mut().filter(|_| inside) {
                *batch.entry(address).or_default() += 1;
            }
        } else if let Some(address) = address.filter(|_| line.starts_with("Stopped ")) {
            if let Some(count) = batches.last_mut().and_then(|batch| batch.get_mut(&address)) {
                *count = count.saturating_sub(u64::from(inside));
            }
        }
    }
    ensure!(!batches.is_empty(), "the log of instructions has no batch");
    Ok(batches)
}

/// The address in a line of the log: the second number in the brackets, or the only one.
fn address(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once('[')?;
    let (inner, _) = rest.split_once(']')?;
    let mut numbers = inner.split('/');
    let first = numbers.next()?;
    u64::from_str_radix(numbers.next().unwrap_or(first), 16).ok()
}

/// The batch with the fewest instructions: the one the clock has interrupted least.
pub fn calmest(batches: Vec<Counts>) -> Counts {
    batches
        .into_iter()
        .min_by_key(|batch| batch.values().sum::<u64>())
        .unwrap_or_default()
}

/// Instructions of each function for one relayed packet. Functions without any are left out.
pub fn by_function(relayed: &Counts, sunk: &Counts, symbols: &Symbols) -> BTreeMap<String, f64> {
    let mut functions: BTreeMap<String, f64> = BTreeMap::new();
    for (address, instructions) in per_packet(relayed, sunk) {
        *functions.entry(symbols.locate(address).0).or_default() += instructions;
    }
    functions.retain(|_, instructions| *instructions != 0.0);
    functions
}

/// Instructions at each address for one relayed packet, as a listing to be read beside a
/// disassembly: a line `COUNT FUNCTION+OFFSET` for each, in the order of their addresses.
pub fn by_address(relayed: &Counts, sunk: &Counts, symbols: &Symbols) -> String {
    let mut listing = String::new();
    for (address, instructions) in per_packet(relayed, sunk) {
        if instructions != 0.0 {
            let (function, offset) = symbols.locate(address);
            // Writing to a string cannot fail.
            let _ = writeln!(listing, "{instructions:9.3} {function}+{offset:#x}");
        }
    }
    listing
}

/// The instructions of a batch that was relayed without those of a batch that was not.
fn per_packet(relayed: &Counts, sunk: &Counts) -> BTreeMap<u64, f64> {
    let mut difference = BTreeMap::new();
    for (counts, sign) in [(relayed, 1.0), (sunk, -1.0)] {
        for (address, count) in counts {
            *difference.entry(*address).or_default() += sign * *count as f64 / BATCH as f64;
        }
    }
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: &str = "ffffffff81000000 T first\n\
        ffffffff81000200 t _RNvCs1234_8lreproxy4hook\t[lreproxy]\n\
        ffffffff81000100 T __x64_sys_sendmmsg\n\
        ffffffff81000180 D no_code\n";

    fn log(addresses: &[u64]) -> String {
        let line = |address| format!("Trace 0: 0x7f00 [00000000/{address:016x}/00c000b0/ff021001]");
        let lines: Vec<_> = addresses.iter().map(line).collect();
        lines.join(" \n") + " \n"
    }

    #[test]
    fn only_what_the_system_call_does_is_counted() {
        let symbols = Symbols::parse(SYMBOLS);
        let text = log(&[
            0xffff_ffff_8100_0000,
            0xffff_ffff_8100_0100,
            0xffff_ffff_8100_0200,
            0xffff_ffff_8100_0200,
            0x5555_0000_1000,
            0xffff_ffff_8100_0000,
        ]);
        let batches = batches(text.as_bytes(), &symbols).unwrap();
        let wanted = Counts::from([(0xffff_ffff_8100_0100, 1), (0xffff_ffff_8100_0200, 2)]);
        assert_eq!(batches, [wanted]);
    }

    #[test]
    fn an_instruction_that_was_not_executed_is_not_counted() {
        let symbols = Symbols::parse(SYMBOLS);
        let text = log(&[0xffff_ffff_8100_0100, 0xffff_ffff_8100_0200])
            + "Stopped execution of TB chain before 0x7f00 [ffffffff81000200] \n"
            + &log(&[0xffff_ffff_8100_0200]);
        let batches = batches(text.as_bytes(), &symbols).unwrap();
        assert_eq!(batches[0][&0xffff_ffff_8100_0200], 1);
    }

    #[test]
    fn a_profile_is_by_function_and_without_the_sender() {
        let symbols = Symbols::parse(SYMBOLS);
        let batch = BATCH as u64;
        let relayed = Counts::from([
            (0xffff_ffff_8100_0104, 10 * batch),
            (0xffff_ffff_8100_0200, 2 * batch),
            (0xffff_ffff_8100_0204, batch),
        ]);
        let sunk = Counts::from([(0xffff_ffff_8100_0108, 10 * batch)]);
        let wanted = BTreeMap::from([("lreproxy::hook".to_owned(), 3.0)]);
        assert_eq!(by_function(&relayed, &sunk, &symbols), wanted);
    }

    #[test]
    fn a_log_without_a_batch_is_an_error() {
        let symbols = Symbols::parse(SYMBOLS);
        assert!(batches(&b""[..], &symbols).is_err());
        assert!(batches(&b""[..], &Symbols::parse("")).is_err());
    }

    #[test]
    fn the_calmest_batch_is_taken() {
        let batch = |count| Counts::from([(1, count)]);
        assert_eq!(calmest(vec![batch(9), batch(5), batch(7)]), batch(5));
        assert_eq!(calmest(vec![]), Counts::new());
    }
}
