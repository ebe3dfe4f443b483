// SPDX-License-Identifier: MIT OR Apache-2.0

//! Numbers, durations and tables for people.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

/// `1234567` is `1,234,567`.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1536` is `1.5 KiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scaled = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"B");
    while scaled >= 1023.95 {
        match units.next() {
            Some(next) => (scaled, unit) = (scaled / 1024.0, next),
            None => break,
        }
    }
    if *unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{scaled:.1} {unit}")
    }
}

/// Whole seconds below an hour, whole minutes from there on.
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let shown = if seconds < 3600 {
        seconds
    } else {
        seconds - seconds % 60
    };
    humantime::format_duration(Duration::from_secs(shown)).to_string()
}

/// `malformed 3, held 12`, or `-`: packets that were dropped, by reason.
pub fn drops<'r>(drops: impl Iterator<Item = (&'r str, u64)>) -> String {
    let some = drops.filter(|(_, packets)| *packets > 0);
    let some: Vec<_> = some
        .map(|(reason, packets)| format!("{reason} {}", number(packets)))
        .collect();
    if some.is_empty() {
        return "-".to_owned();
    }
    some.join(", ")
}

/// An aligned table without lines; the columns named in `right` hold numbers. Lines end without
/// spaces.
pub fn table(
    header: &[&str],
    right: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (column, name) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        if right.contains(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1000), "1,000");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn bytes_have_a_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(65_900), "1m 5s");
        assert_eq!(duration(3_725_000), "1h 2m");
        assert_eq!(duration(0), "0s");
    }
}
