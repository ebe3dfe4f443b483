// SPDX-License-Identifier: MIT OR Apache-2.0
//! The netlink specification as it is written: the part of the kernel's
//! `genetlink` schema (`Documentation/netlink/genetlink.yaml`) that lreproxy
//! uses. Any other key is an error that names its line.

use serde::Deserialize;

/// A whole specification.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    pub name: Name,
    #[serde(rename = "protocol")]
    pub _protocol: Protocol,
    pub doc: String,
    #[serde(default)]
    pub definitions: Vec<Definition>,
    pub attribute_sets: Vec<AttributeSet>,
    pub operations: List<Operation>,
    pub mcast_groups: List<Group>,
}

/// The schema a specification follows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Genetlink,
}

/// The schema's `list:` wrapper.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List<T> {
    pub list: Vec<T>,
}

/// A constant or an enumeration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    pub name: Name,
    pub r#type: DefinitionType,
    pub doc: String,
    pub value: Option<u32>,
    pub entries: Option<Vec<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefinitionType {
    Const,
    Enum,
}

/// One value of an enumeration; the first is 0.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: Name,
    pub doc: String,
}

/// A numbering space of attributes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeSet {
    pub name: Name,
    pub doc: String,
    pub attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Attribute {
    pub name: Name,
    pub r#type: AttributeType,
    pub doc: String,
    #[serde(default)]
    pub multi_attr: bool,
    pub byte_order: Option<ByteOrder>,
    pub nested_attributes: Option<Name>,
    pub r#enum: Option<Name>,
    #[serde(default)]
    pub checks: Checks,
    /// How a generic client prints the value; nothing is generated from it.
    #[serde(rename = "display-hint")]
    pub _display_hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttributeType {
    Flag,
    U16,
    U32,
    Uint,
    String,
    Binary,
    Nest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByteOrder {
    BigEndian,
}

/// What the kernel validates of a value.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Checks {
    pub min: Option<Limit>,
    pub max: Option<Limit>,
    pub min_len: Option<Limit>,
    pub max_len: Option<Limit>,
}

/// A number, or the name of the constant that holds it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Limit {
    Number(u32),
    Constant(Name),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Operation {
    pub name: Name,
    pub doc: String,
    pub attribute_set: Name,
    #[serde(default)]
    pub flags: Vec<Flag>,
    pub r#do: Option<Do>,
    pub dump: Option<Dump>,
    pub event: Option<Attributes>,
    pub mcgrp: Option<Name>,
}

/// Who may use an operation or join a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// `CAP_NET_ADMIN` in the user namespace of the network namespace.
    UnsAdminPerm,
}

/// One request, at most one answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Do {
    #[serde(default)]
    pub request: Attributes,
    #[serde(default)]
    pub reply: Attributes,
}

/// A request that carries no attributes and is answered by any number of messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dump {
    pub reply: Attributes,
}

/// Names of attributes of the operation's set.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    #[serde(default)]
    pub attributes: Vec<Name>,
}

/// A multicast group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: Name,
    #[serde(default)]
    pub flags: Vec<Flag>,
}

/// A name as the schema allows it (`^[0-9a-z-]+$`), starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// As written: `drop-reason`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a Rust constant: `DROP_REASON`.
    pub fn constant(&self) -> String {
        self.module().to_ascii_uppercase()
    }

    /// As a Rust module: `drop_reason`.
    pub fn module(&self) -> String {
        self.0.replace('-', "_")
    }

    /// As a Rust type or variant: `DropReason`.
    pub fn type_name(&self) -> String {
        self.0
            .split('-')
            .flat_map(|word| {
                let (first, rest) = word.split_at(word.len().min(1));
                [first.to_ascii_uppercase(), rest.to_owned()]
            })
            .collect()
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if valid {
            Ok(Self(name))
        } else {
            Err(format!(
                "`{name}` is no name: a letter a-z, then letters, digits and dashes"
            ))
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
