// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a family as Rust constants.
//!
//! The text uses `core` only and has no inner attributes or inner doc
//! comments, because the kernel module includes the file as one of its own
//! modules. It is laid out as rustfmt lays it out.

use crate::family::{Bound, Enum, Family, Form, Kind, Operation, Set};
use crate::spec::Name;

/// Widest line of a doc comment, indentation and slashes included.
const DOC_WIDTH: usize = 80;

/// Widest array rustfmt leaves on one line (its `array_width`).
const ARRAY_WIDTH: usize = 60;

/// Widest fields of a struct literal rustfmt leaves on one line (its `struct_lit_width`).
const STRUCT_WIDTH: usize = 18;

const BANNER: &str = "\
// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR MIT)
// Do not edit: generated from genl-proto/lreproxy.yaml by `make generate`.
";

/// Types that describe the tables below them.
const TYPES: &str = "
/// What a value of an attribute is, and what the kernel validates of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No value: it is there or not.
    Flag,
    /// A `u16`.
    U16 {
        /// In network byte order; in host byte order otherwise.
        big_endian: bool,
        /// Smallest value allowed.
        min: u16,
        /// Largest value allowed.
        max: u16,
    },
    /// A `u32` in host byte order.
    U32 {
        /// Smallest value allowed.
        min: u32,
        /// Largest value allowed.
        max: u32,
    },
    /// An unsigned integer of 4 or 8 bytes in host byte order.
    Uint,
    /// A string that ends with a zero byte.
    String,
    /// Bytes.
    Binary {
        /// Fewest bytes allowed.
        min_len: u16,
        /// Most bytes allowed.
        max_len: u16,
    },
    /// Attributes of another set.
    Nest(&'static [Attribute]),
}

/// One attribute of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its number in its set.
    pub id: u16,
    /// Its name in the specification.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Whether it can be there more than once.
    pub multi: bool,
}

/// One command that a controller can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number.
    pub command: Command,
    /// Its name in the specification.
    pub name: &'static str,
    /// The attribute set of its requests and answers.
    pub attributes: &'static [Attribute],
    /// Numbers of the attributes that a request can carry.
    pub request: &'static [u16],
    /// Whether it can also be asked for with `NLM_F_DUMP`.
    pub dump: bool,
    /// Whether it takes `CAP_NET_ADMIN` in the user namespace of the network
    /// namespace.
    pub admin: bool,
}

/// One multicast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, by which a controller finds its number.
    pub name: &'static str,
    /// Whether joining takes `CAP_NET_ADMIN` in the user namespace of the
    /// network namespace.
    pub admin: bool,
}
";

/// The text of `generated.rs`.
pub fn render(family: &Family) -> String {
    let mut out = Source {
        text: BANNER.to_owned(),
        indent: 0,
    };
    out.blank();
    out.doc("Name of the generic netlink family.");
    out.line(&format!(
        "pub const FAMILY_NAME: &str = \"{}\";",
        family.name
    ));
    for constant in &family.constants {
        let (name, value) = (constant.name.constant(), grouped(constant.value));
        out.blank();
        out.doc(&constant.doc);
        out.line(&format!("pub const {name}: u32 = {value};"));
    }
    for group in &family.groups {
        let (constant, name) = (group.name.constant(), &group.name);
        out.blank();
        out.doc(&format!("Name of the multicast group `{name}`."));
        out.line(&format!("pub const GROUP_{constant}: &str = \"{name}\";"));
    }
    for enumeration in &family.enums {
        render_enum(&mut out, enumeration);
    }
    render_commands(&mut out, &family.operations);
    out.text.push_str(TYPES);
    for set in &family.sets {
        render_set(&mut out, set);
    }
    render_operations(&mut out, &family.operations);
    render_groups(&mut out, family);
    out.text
}

fn render_enum(out: &mut Source, enumeration: &Enum) {
    let entries: Vec<_> = enumeration
        .entries
        .iter()
        .zip(0..)
        .map(|(entry, value)| (&entry.name, entry.doc.as_str(), value))
        .collect();
    let name = enumeration.name.type_name();
    enumerated(out, &name, &enumeration.doc, "u32", &entries);
}

fn render_commands(out: &mut Source, operations: &[Operation]) {
    let entries: Vec<_> = operations
        .iter()
        .map(|op| (&op.name, op.doc.as_str(), u32::from(op.id)))
        .collect();
    let about = "The commands a controller sends and the events it receives.";
    enumerated(out, "Command", about, "u8", &entries);
}

/// An enum with explicit numbers, and its conversions.
fn enumerated(
    out: &mut Source,
    name: &str,
    about: &str,
    repr: &str,
    entries: &[(&Name, &str, u32)],
) {
    out.blank();
    out.doc(about);
    out.line("#[derive(Clone, Copy, Debug, PartialEq, Eq)]");
    out.line(&format!("#[repr({repr})]"));
    out.open(&format!("pub enum {name} {{"));
    for (entry, about, value) in entries {
        out.doc(about);
        out.line(&format!("{} = {value},", entry.type_name()));
    }
    out.close("}");

    out.blank();
    out.open(&format!("impl {name} {{"));
    out.doc("Every value, in the order of their numbers.");
    let all = entries
        .iter()
        .map(|(entry, ..)| format!("Self::{}", entry.type_name()))
        .collect();
    out.array(
        &format!("pub const ALL: [Self; {}] = ", entries.len()),
        all,
        ";",
    );
    out.blank();
    out.doc("The value of this number; none when there is no such value.");
    out.open(&format!(
        "pub const fn from_{repr}(number: {repr}) -> Option<Self> {{"
    ));
    out.open("match number {");
    for (entry, _, value) in entries {
        out.line(&format!("{value} => Some(Self::{}),", entry.type_name()));
    }
    out.line("_ => None,");
    out.close("}");
    out.close("}");
    out.blank();
    out.doc("Its name in the specification.");
    out.open("pub const fn name(self) -> &'static str {");
    out.open("match self {");
    for (entry, ..) in entries {
        out.line(&format!("Self::{} => \"{entry}\",", entry.type_name()));
    }
    out.close("}");
    out.close("}");
    out.close("}");
}

fn render_set(out: &mut Source, set: &Set) {
    let count = set.attributes.len();
    out.blank();
    out.doc(&format!("Attribute set `{}`. {}", set.name, set.doc));
    out.open(&format!("pub mod {} {{", set.name.module()));
    out.line("use super::{Attribute, Kind};");
    for attribute in &set.attributes {
        let (name, id) = (attribute.name.constant(), attribute.id);
        out.blank();
        out.doc(&attribute.doc);
        out.line(&format!("pub const {name}: u16 = {id};"));
    }
    out.blank();
    out.doc("The largest number of an attribute of this set.");
    out.line(&format!("pub const MAX: u16 = {count};"));
    out.blank();
    out.doc("Every attribute, in the order of their numbers.");
    let rows = set.attributes.iter().map(|attribute| {
        let (name, fields) = kind(&attribute.kind);
        vec![
            Field::plain("id", attribute.name.constant()),
            Field::plain("name", format!("\"{}\"", attribute.name)),
            Field {
                name: "kind",
                value: Value::Struct(format!("Kind::{name}"), fields),
            },
            Field::plain("multi", attribute.multi.to_string()),
        ]
    });
    let head = format!("pub const ATTRS: [Attribute; {count}] = ");
    out.table(&head, "Attribute", rows.collect());
    out.close("}");
}

/// The variant of `Kind` and its fields.
fn kind(kind: &Kind) -> (String, Vec<(&'static str, String)>) {
    match kind {
        Kind::Flag => ("Flag".to_owned(), vec![]),
        Kind::Uint => ("Uint".to_owned(), vec![]),
        Kind::String => ("String".to_owned(), vec![]),
        Kind::Nest(set) => (format!("Nest(&super::{}::ATTRS)", set.module()), vec![]),
        Kind::U16 {
            big_endian,
            min,
            max,
        } => (
            "U16".to_owned(),
            vec![
                ("big_endian", big_endian.to_string()),
                ("min", limit(min, "0", " as u16")),
                ("max", limit(max, "u16::MAX", " as u16")),
            ],
        ),
        Kind::U32 { min, max } => (
            "U32".to_owned(),
            vec![
                ("min", limit(min, "0", "")),
                ("max", limit(max, "u32::MAX", "")),
            ],
        ),
        Kind::Enum { name, last } => {
            let (name, last) = (name.type_name(), last.type_name());
            let last = format!("super::{name}::{last} as u32");
            let fields = vec![("min", "0".to_owned()), ("max", last)];
            ("U32".to_owned(), fields)
        }
        Kind::Binary { min, max } => (
            "Binary".to_owned(),
            vec![
                ("min_len", limit(min, "0", " as u16")),
                ("max_len", limit(max, "u16::MAX", " as u16")),
            ],
        ),
    }
}

/// A limit by the name of its constant where it has one, else as a number.
fn limit(bound: &Option<Bound>, absent: &str, cast: &str) -> String {
    match bound {
        None => absent.to_owned(),
        Some(bound) => match &bound.constant {
            Some(name) => format!("super::{}{cast}", name.constant()),
            None => grouped(bound.value),
        },
    }
}

fn render_operations(out: &mut Source, operations: &[Operation]) {
    let mut rows = Vec::new();
    for operation in operations {
        let Form::Command { request, dump, .. } = &operation.form else {
            continue;
        };
        let set = operation.set.module();
        let request = request.iter().map(|a| format!("{set}::{}", a.constant()));
        rows.push(vec![
            Field::plain(
                "command",
                format!("Command::{}", operation.name.type_name()),
            ),
            Field::plain("name", format!("\"{}\"", operation.name)),
            Field::plain("attributes", format!("&{set}::ATTRS")),
            Field {
                name: "request",
                value: Value::Slice(request.collect()),
            },
            Field::plain("dump", dump.is_some().to_string()),
            Field::plain("admin", operation.admin.to_string()),
        ]);
    }
    out.blank();
    out.doc("Every command a controller can send, in the order of their numbers.");
    let head = format!("pub const OPERATIONS: [Operation; {}] = ", rows.len());
    out.table(&head, "Operation", rows);
}

fn render_groups(out: &mut Source, family: &Family) {
    out.blank();
    out.doc("Every multicast group, in the order of their registration.");
    let rows = family.groups.iter().map(|group| {
        vec![
            Field::plain("name", format!("GROUP_{}", group.name.constant())),
            Field::plain("admin", group.admin.to_string()),
        ]
    });
    let head = format!("pub const GROUPS: [Group; {}] = ", family.groups.len());
    out.table(&head, "Group", rows.collect());
}

/// A field of a struct literal.
struct Field {
    name: &'static str,
    value: Value,
}

impl Field {
    fn plain(name: &'static str, value: String) -> Self {
        let value = Value::Plain(value);
        Self { name, value }
    }
}

enum Value {
    Plain(String),
    /// `&[item, item]`.
    Slice(Vec<String>),
    /// `Path { name: value }`; only the path when there are no fields.
    Struct(String, Vec<(&'static str, String)>),
}

/// Rust source in the making.
struct Source {
    text: String,
    indent: usize,
}

impl Source {
    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(&" ".repeat(self.indent));
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A line, after which lines are indented by one more step.
    fn open(&mut self, line: &str) {
        self.line(line);
        self.indent += 4;
    }

    /// A line that ends what the last `open` began.
    fn close(&mut self, line: &str) {
        self.indent -= 4;
        self.line(line);
    }

    /// A doc comment, wrapped.
    fn doc(&mut self, text: &str) {
        let mut line = String::from("///");
        for word in text.split_whitespace() {
            if line.len() > 3 && self.indent + line.len() + 1 + word.len() > DOC_WIDTH {
                self.line(&line);
                line.truncate(3);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    /// `head[item, item]tail`.
    fn array(&mut self, head: &str, items: Vec<String>, tail: &str) {
        let joined = items.join(", ");
        if joined.len() <= ARRAY_WIDTH {
            self.line(&format!("{head}[{joined}]{tail}"));
            return;
        }
        self.open(&format!("{head}["));
        for item in items {
            self.line(&format!("{item},"));
        }
        self.close(&format!("]{tail}"));
    }

    /// `head[name { field: value, … }, …];`
    fn table(&mut self, head: &str, name: &str, rows: Vec<Vec<Field>>) {
        // rustfmt does not indent twice for an array of a single element.
        let single = rows.len() == 1;
        if !single {
            self.open(&format!("{head}["));
        }
        for fields in rows {
            if single {
                self.open(&format!("{head}[{name} {{"));
            } else {
                self.open(&format!("{name} {{"));
            }
            for field in fields {
                self.field(field);
            }
            self.close(if single { "}];" } else { "}," });
        }
        if !single {
            self.close("];");
        }
    }

    fn field(&mut self, Field { name, value }: Field) {
        match value {
            Value::Plain(value) => self.line(&format!("{name}: {value},")),
            Value::Slice(items) => self.array(&format!("{name}: &"), items, ","),
            Value::Struct(path, fields) if fields.is_empty() => {
                self.line(&format!("{name}: {path},"));
            }
            Value::Struct(path, fields) if joined(&fields).len() <= STRUCT_WIDTH => {
                let fields = joined(&fields);
                self.line(&format!("{name}: {path} {{ {fields} }},"));
            }
            Value::Struct(path, fields) => {
                self.open(&format!("{name}: {path} {{"));
                for (name, value) in fields {
                    self.line(&format!("{name}: {value},"));
                }
                self.close("},");
            }
        }
    }
}

/// The fields of a struct literal, on one line.
fn joined(fields: &[(&str, String)]) -> String {
    let fields = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    fields.collect::<Vec<_>>().join(", ")
}

/// A number with its thousands apart, as Clippy asks of long literals.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    if digits.len() < 6 {
        return digits;
    }
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push('_');
        }
        out.push(digit);
    }
    out
}
