// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a family as a page for the people who write a controller.

use crate::family::{Bound, Enum, Family, Form, Kind, Operation, Set};
use crate::spec::Name;

/// Everything of the page that is not in the specification.
const PAGE: &str = include_str!("../protocol.md");

/// Widest line of prose.
const WIDTH: usize = 120;

/// The text of `docs/protocol.md`.
pub fn render(family: &Family) -> String {
    PAGE.replace("@name@", family.name.as_str())
        .replace("@doc@", &prose(&family.doc))
        .replace("@glance@", glance(family).trim_end())
        .replace("@reference@", reference(family).trim_end())
}

/// The list of commands and events.
fn glance(family: &Family) -> String {
    let mut out = table(&["number", "name", "", "in short"]);
    for operation in &family.operations {
        let name = &operation.name;
        let form = match &operation.form {
            Form::Command { dump: None, .. } => "command",
            Form::Command { dump: Some(_), .. } => "command, dump",
            Form::Event { .. } => "event",
        };
        row(
            &mut out,
            &[
                &operation.id.to_string(),
                &format!("[`{name}`](#{name})"),
                form,
                first_sentence(&operation.doc),
            ],
        );
    }
    out
}

fn reference(family: &Family) -> String {
    let mut out = String::from("## Commands\n\n");
    let is_event = |op: &&Operation| matches!(op.form, Form::Event { .. });
    for operation in family.operations.iter().filter(|op| !is_event(op)) {
        describe_operation(&mut out, operation, family);
    }
    out.push_str("## Events\n\n");
    for operation in family.operations.iter().filter(is_event) {
        describe_operation(&mut out, operation, family);
    }
    out.push_str("## Attributes\n\nEach set counts its own numbers.\n\n");
    for set in &family.sets {
        describe_set(&mut out, set);
    }
    out.push_str("## Enumerations\n\nAll are of type `u32`.\n\n");
    for enumeration in &family.enums {
        describe_enum(&mut out, enumeration);
    }
    out.push_str("## Limits\n\n");
    out.push_str(&table(&["name", "value", "meaning"]));
    for constant in &family.constants {
        let name = format!("`{}`", constant.name);
        let value = constant.value.to_string();
        row(&mut out, &[&name, &value, &constant.doc]);
    }
    out
}

fn describe_operation(out: &mut String, operation: &Operation, family: &Family) {
    heading(out, operation.name.as_str());
    out.push_str(&prose(&operation.doc));
    out.push_str("\n\n");
    let set = &operation.set;
    let mut facts = vec![
        ("number", operation.id.to_string()),
        ("attributes", format!("set [`{set}`](#set-{set})")),
    ];
    match &operation.form {
        Form::Command {
            request,
            reply,
            dump,
        } => {
            facts.push(("request", names(request)));
            facts.push(("answer", names(reply)));
            if let Some(dump) = dump {
                facts.push(("dump request", names(&[])));
                facts.push(("each answer of the dump", names(dump)));
            }
            facts.push(("privilege", privilege(operation.admin)));
        }
        Form::Event { group, attributes } => {
            let admin = family.groups.iter().any(|g| g.name == *group && g.admin);
            facts.push(("multicast group", format!("`{group}`")));
            facts.push(("carries", names(attributes)));
            facts.push(("privilege to join", privilege(admin)));
        }
    }
    for (what, is) in facts {
        item(out, &format!("{what}: {is}"));
    }
    out.push('\n');
}

fn privilege(admin: bool) -> String {
    if admin { "`CAP_NET_ADMIN`" } else { "none" }.to_owned()
}

fn describe_set(out: &mut String, set: &Set) {
    heading(out, &format!("Set `{}`", set.name));
    out.push_str(&prose(&set.doc));
    out.push_str("\n\n");
    out.push_str(&table(&["number", "name", "type", "meaning"]));
    for attribute in &set.attributes {
        let mut kind = describe_kind(&attribute.kind);
        if attribute.multi {
            kind.push_str(", several");
        }
        let (id, name) = (attribute.id.to_string(), format!("`{}`", attribute.name));
        row(out, &[&id, &name, &kind, &attribute.doc]);
    }
    out.push('\n');
}

fn describe_kind(kind: &Kind) -> String {
    match kind {
        Kind::Flag => "flag".to_owned(),
        Kind::U16 {
            big_endian,
            min,
            max,
        } => {
            let order = if *big_endian { ", network order" } else { "" };
            format!("`u16`{order}{}", range(min, max, ""))
        }
        Kind::U32 { min, max } => format!("`u32`{}", range(min, max, "")),
        Kind::Enum { name, .. } => format!("[`{name}`](#enumeration-{name})"),
        Kind::Uint => "`uint`".to_owned(),
        Kind::String => "string, ends with a zero byte".to_owned(),
        Kind::Binary { min, max } => format!("binary{}", range(min, max, " bytes")),
        Kind::Nest(set) => format!("nest of [`{set}`](#set-{set})"),
    }
}

fn range(min: &Option<Bound>, max: &Option<Bound>, unit: &str) -> String {
    match (min.as_ref().map(limit), max.as_ref().map(limit)) {
        (None, None) => String::new(),
        (Some(min), None) => format!(", at least {min}{unit}"),
        (None, Some(max)) => format!(", at most {max}{unit}"),
        (Some(min), Some(max)) => format!(", {min} to {max}{unit}"),
    }
}

fn limit(bound: &Bound) -> String {
    match &bound.constant {
        Some(name) => format!("[`{name}`](#limits) ({})", bound.value),
        None => bound.value.to_string(),
    }
}

fn describe_enum(out: &mut String, enumeration: &Enum) {
    heading(out, &format!("Enumeration `{}`", enumeration.name));
    out.push_str(&prose(&enumeration.doc));
    out.push_str("\n\n");
    out.push_str(&table(&["value", "name", "meaning"]));
    for (value, entry) in enumeration.entries.iter().enumerate() {
        let name = format!("`{}`", entry.name);
        row(out, &[&value.to_string(), &name, &entry.doc]);
    }
    out.push('\n');
}

fn heading(out: &mut String, text: &str) {
    out.push_str("### ");
    out.push_str(text);
    out.push_str("\n\n");
}

fn item(out: &mut String, text: &str) {
    out.push_str("- ");
    out.push_str(text);
    out.push('\n');
}

/// The head of a table.
fn table(columns: &[&str]) -> String {
    let mut out = String::new();
    row(&mut out, columns);
    out.push_str(&"|---".repeat(columns.len()));
    out.push_str("|\n");
    out
}

fn row(out: &mut String, cells: &[&str]) {
    for cell in cells {
        out.push_str("| ");
        out.push_str(&one_line(cell).replace('|', "\\|"));
        out.push(' ');
    }
    out.push_str("|\n");
}

/// Text as a paragraph of lines.
fn prose(text: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        if width > 0 && width + 1 + word.len() > WIDTH {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.len();
    }
    out
}

/// Text on one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ")
        .map_or(text, |(first, _)| first)
        .trim_end_matches('.')
}

fn names(names: &[Name]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
