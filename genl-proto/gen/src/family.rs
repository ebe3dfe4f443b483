// SPDX-License-Identifier: MIT OR Apache-2.0
//! A specification with every number assigned and every reference checked.
//!
//! Numbers follow the kernel's YNL tools (`tools/net/ynl/pyynl/lib/nlspec.py`):
//! attributes and operations count from 1, enumeration entries from 0, and
//! events share the operations' numbers (the "unified" model).

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::spec::{self, AttributeType, DefinitionType, Limit, Name, Spec};

pub struct Family {
    pub name: Name,
    pub doc: String,
    pub constants: Vec<Constant>,
    pub enums: Vec<Enum>,
    pub sets: Vec<Set>,
    pub operations: Vec<Operation>,
    pub groups: Vec<Group>,
}

pub struct Constant {
    pub name: Name,
    pub doc: String,
    pub value: u32,
}

pub struct Enum {
    pub name: Name,
    pub doc: String,
    /// In the order of their values, from 0.
    pub entries: Vec<Entry>,
}

pub struct Entry {
    pub name: Name,
    pub doc: String,
}

pub struct Set {
    pub name: Name,
    pub doc: String,
    pub attributes: Vec<Attribute>,
}

pub struct Attribute {
    pub id: u16,
    pub name: Name,
    pub doc: String,
    pub kind: Kind,
    pub multi: bool,
}

pub enum Kind {
    Flag,
    U16 {
        big_endian: bool,
        min: Option<Bound>,
        max: Option<Bound>,
    },
    U32 {
        min: Option<Bound>,
        max: Option<Bound>,
    },
    /// A `u32` that holds a value of an enumeration.
    Enum {
        name: Name,
        /// Name of its largest value.
        last: Name,
    },
    Uint,
    String,
    Binary {
        min: Option<Bound>,
        max: Option<Bound>,
    },
    /// Holds attributes of the set of this name.
    Nest(Name),
}

/// A limit, and the constant it was given as.
pub struct Bound {
    pub value: u32,
    pub constant: Option<Name>,
}

pub struct Operation {
    pub id: u8,
    pub name: Name,
    pub doc: String,
    /// Name of the set its attributes belong to.
    pub set: Name,
    pub admin: bool,
    pub form: Form,
}

pub enum Form {
    Command {
        request: Vec<Name>,
        reply: Vec<Name>,
        dump: Option<Vec<Name>>,
    },
    Event {
        group: Name,
        attributes: Vec<Name>,
    },
}

pub struct Group {
    pub name: Name,
    pub admin: bool,
}

impl Family {
    /// Reads a specification.
    ///
    /// # Errors
    ///
    /// What is wrong and where: line and column for what the schema does not
    /// allow, the path of names for what refers to nothing or does not fit.
    pub fn parse(yaml: &str) -> Result<Self> {
        let spec: Spec = serde_norway::from_str(yaml)?;

        let mut constants = Vec::new();
        let mut enums = Vec::new();
        unique("definitions", spec.definitions.iter().map(|d| &d.name))?;
        for definition in spec.definitions {
            let at = format!("definitions: {}", definition.name);
            define(definition, &mut constants, &mut enums).context(at)?;
        }

        unique(
            "attribute-sets",
            spec.attribute_sets.iter().map(|s| &s.name),
        )?;
        let mut sets: Vec<Set> = Vec::new();
        for set in spec.attribute_sets {
            let at = format!("attribute-sets: {}", set.name);
            let set = resolve_set(set, &constants, &enums, &sets).context(at)?;
            sets.push(set);
        }

        unique(
            "mcast-groups",
            spec.mcast_groups.list.iter().map(|g| &g.name),
        )?;
        let groups: Vec<Group> = spec
            .mcast_groups
            .list
            .into_iter()
            .map(|group| Group {
                name: group.name,
                admin: !group.flags.is_empty(),
            })
            .collect();

        unique("operations", spec.operations.list.iter().map(|o| &o.name))?;
        let mut operations = Vec::new();
        for (operation, id) in spec.operations.list.into_iter().zip(1..) {
            let at = format!("operations: {}", operation.name);
            operations.push(resolve_operation(operation, id, &sets, &groups).context(at)?);
        }

        Ok(Self {
            name: spec.name,
            doc: spec.doc,
            constants,
            enums,
            sets,
            operations,
            groups,
        })
    }
}

fn define(
    definition: spec::Definition,
    constants: &mut Vec<Constant>,
    enums: &mut Vec<Enum>,
) -> Result<()> {
    let spec::Definition {
        name,
        r#type,
        doc,
        value,
        entries,
    } = definition;
    match (r#type, value, entries) {
        (DefinitionType::Const, Some(value), None) => {
            constants.push(Constant { name, doc, value });
        }
        (DefinitionType::Enum, None, Some(entries)) => {
            ensure!(!entries.is_empty(), "entries: there are none");
            unique("entries", entries.iter().map(|e| &e.name))?;
            let entries = entries
                .into_iter()
                .map(|entry| Entry {
                    name: entry.name,
                    doc: entry.doc,
                })
                .collect();
            enums.push(Enum { name, doc, entries });
        }
        (DefinitionType::Const, ..) => bail!("a const has a `value` and no `entries`"),
        (DefinitionType::Enum, ..) => bail!("an enum has `entries` and no `value`"),
    }
    Ok(())
}

fn resolve_set(
    set: spec::AttributeSet,
    constants: &[Constant],
    enums: &[Enum],
    earlier: &[Set],
) -> Result<Set> {
    ensure!(!set.attributes.is_empty(), "attributes: there are none");
    unique("attributes", set.attributes.iter().map(|a| &a.name))?;
    let mut attributes = Vec::new();
    for (attribute, id) in set.attributes.into_iter().zip(1..) {
        let at = attribute.name.to_string();
        attributes.push(resolve_attribute(attribute, id, constants, enums, earlier).context(at)?);
    }
    Ok(Set {
        name: set.name,
        doc: set.doc,
        attributes,
    })
}

fn resolve_attribute(
    attribute: spec::Attribute,
    id: u16,
    constants: &[Constant],
    enums: &[Enum],
    earlier: &[Set],
) -> Result<Attribute> {
    use AttributeType as Type;

    let r#type = attribute.r#type;
    let reserved = ["max", "attrs"];
    ensure!(
        !reserved.contains(&attribute.name.as_str()),
        "the name is taken by a generated constant"
    );
    let only_for = |key: &str, present: bool, types: &[Type]| {
        ensure!(
            !present || types.contains(&r#type),
            "{key}: does not go with type {type:?}"
        );
        Ok(())
    };
    let checks = attribute.checks;
    let integer = [Type::U16, Type::U32];
    only_for("byte-order", attribute.byte_order.is_some(), &[Type::U16])?;
    only_for("enum", attribute.r#enum.is_some(), &[Type::U32])?;
    only_for(
        "nested-attributes",
        attribute.nested_attributes.is_some(),
        &[Type::Nest],
    )?;
    only_for("checks: min", checks.min.is_some(), &integer)?;
    only_for("checks: max", checks.max.is_some(), &integer)?;
    only_for("checks: min-len", checks.min_len.is_some(), &[Type::Binary])?;
    only_for("checks: max-len", checks.max_len.is_some(), &[Type::Binary])?;

    let bounds = |min: Option<Limit>, max: Option<Limit>, most: u32| -> Result<_> {
        let min = min.map(|limit| bound(limit, most, constants)).transpose();
        let max = max.map(|limit| bound(limit, most, constants)).transpose();
        let (min, max) = (min.context("checks: min")?, max.context("checks: max")?);
        if let (Some(min), Some(max)) = (&min, &max) {
            ensure!(
                min.value <= max.value,
                "checks: {} is more than {}",
                min.value,
                max.value
            );
        }
        Ok((min, max))
    };

    let kind = match r#type {
        Type::Flag => Kind::Flag,
        Type::Uint => Kind::Uint,
        Type::String => Kind::String,
        Type::U16 => {
            let (min, max) = bounds(checks.min, checks.max, u16::MAX.into())?;
            Kind::U16 {
                big_endian: attribute.byte_order.is_some(),
                min,
                max,
            }
        }
        Type::U32 => match attribute.r#enum {
            None => {
                let (min, max) = bounds(checks.min, checks.max, u32::MAX)?;
                Kind::U32 { min, max }
            }
            Some(name) => {
                ensure!(
                    checks.min.is_none() && checks.max.is_none(),
                    "checks: the enum sets the range already"
                );
                let last = enums
                    .iter()
                    .find(|e| e.name == name)
                    .and_then(|e| e.entries.last())
                    .map(|entry| entry.name.clone())
                    .ok_or_else(|| anyhow!("enum: no enum is named `{name}`"))?;
                Kind::Enum { name, last }
            }
        },
        Type::Binary => {
            let (min, max) = bounds(checks.min_len, checks.max_len, u16::MAX.into())?;
            Kind::Binary { min, max }
        }
        Type::Nest => {
            let name = attribute
                .nested_attributes
                .ok_or_else(|| anyhow!("a nest names its `nested-attributes`"))?;
            // Only earlier sets, so that no set can hold itself.
            ensure!(
                earlier.iter().any(|set| set.name == name),
                "nested-attributes: no attribute set before this one is named `{name}`"
            );
            Kind::Nest(name)
        }
    };
    Ok(Attribute {
        id,
        name: attribute.name,
        doc: attribute.doc,
        kind,
        multi: attribute.multi_attr,
    })
}

fn bound(limit: Limit, most: u32, constants: &[Constant]) -> Result<Bound> {
    let bound = match limit {
        Limit::Number(value) => Bound {
            value,
            constant: None,
        },
        Limit::Constant(name) => {
            let constant = constants
                .iter()
                .find(|constant| constant.name == name)
                .ok_or_else(|| anyhow!("no const is named `{name}`"))?;
            Bound {
                value: constant.value,
                constant: Some(name),
            }
        }
    };
    ensure!(
        bound.value <= most,
        "{} does not fit the type, whose largest value is {most}",
        bound.value
    );
    Ok(bound)
}

fn resolve_operation(
    operation: spec::Operation,
    id: u8,
    sets: &[Set],
    groups: &[Group],
) -> Result<Operation> {
    let set = sets
        .iter()
        .find(|set| set.name == operation.attribute_set)
        .ok_or_else(|| {
            anyhow!(
                "attribute-set: no attribute set is named `{}`",
                operation.attribute_set
            )
        })?;
    let known = |at: &str, names: Vec<Name>| -> Result<Vec<Name>> {
        unique(at, names.iter())?;
        for name in &names {
            ensure!(
                set.attributes.iter().any(|a| a.name == *name),
                "{at}: attribute set `{}` has no `{name}`",
                set.name
            );
        }
        Ok(names)
    };
    let form = match (operation.r#do, operation.event, operation.mcgrp) {
        (Some(r#do), None, None) => Form::Command {
            request: known("do: request", r#do.request.attributes)?,
            reply: known("do: reply", r#do.reply.attributes)?,
            dump: operation
                .dump
                .map(|dump| known("dump: reply", dump.reply.attributes))
                .transpose()?,
        },
        (None, Some(event), Some(group)) => {
            ensure!(operation.dump.is_none(), "dump: an event has none");
            ensure!(
                groups.iter().any(|g| g.name == group),
                "mcgrp: no multicast group is named `{group}`"
            );
            Form::Event {
                group,
                attributes: known("event", event.attributes)?,
            }
        }
        _ => bail!("it is a command (`do`) or an event (`event` and `mcgrp`)"),
    };
    Ok(Operation {
        id,
        name: operation.name,
        doc: operation.doc,
        set: operation.attribute_set,
        admin: !operation.flags.is_empty(),
        form,
    })
}

fn unique<'a>(at: &str, names: impl Iterator<Item = &'a Name>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        ensure!(seen.insert(name), "{at}: `{name}` is there twice");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = include_str!("../tests/small/lreproxy.yaml");

    /// What is said about the small family when this is changed in it.
    #[track_caller]
    fn fault(from: &str, to: &str) -> String {
        assert!(SMALL.contains(from), "{from}");
        match Family::parse(&SMALL.replacen(from, to, 1)) {
            Ok(_) => panic!("{to} was taken"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn a_key_the_schema_does_not_have_is_named_with_its_line() {
        for (from, to) in [
            ("doc: A family", "docs: A family"),
            ("    value: 250", "    valeu: 250"),
            ("        doc: Walking.", "        dok: Walking."),
            ("        multi-attr: true", "        multi: true"),
            ("          max: top-speed", "          most: top-speed"),
            ("      mcgrp: news", "      group: news"),
            ("        request:", "        requests:"),
            ("      name: news", "      name: news\n      doc: x"),
        ] {
            let said = fault(from, to);
            assert!(said.contains("unknown field"), "{said}");
            assert!(said.contains("line "), "{said}");
        }
    }

    #[test]
    fn a_value_the_schema_does_not_have_is_named_with_its_line() {
        for (from, to) in [
            ("type: uint", "type: float"),
            ("byte-order: big-endian", "byte-order: middle-endian"),
            ("flags: [uns-admin-perm]", "flags: [root]"),
            ("protocol: genetlink", "protocol: carrier-pigeon"),
            ("name: top-speed", "name: Top_Speed"),
            ("name: top-speed", "name: 9-speed"),
            ("value: 250", "value: -1"),
        ] {
            let said = fault(from, to);
            assert!(said.contains("line "), "{said}");
        }
    }

    #[test]
    fn a_reference_to_nothing_is_named_with_its_path() {
        for (from, to, text) in [
            (
                "max: top-speed",
                "max: low-speed",
                "attribute-sets: leg: speed: checks: max: no const is named `low-speed`",
            ),
            (
                "enum: mode-of-travel",
                "enum: mood",
                "attribute-sets: trip: mode: enum: no enum is named `mood`",
            ),
            (
                "nested-attributes: leg",
                "nested-attributes: trip",
                "attribute-sets: trip: legs: nested-attributes: no attribute set before this one \
                 is named `trip`",
            ),
            (
                "attribute-set: trip",
                "attribute-set: tour",
                "operations: plan-trip: attribute-set: no attribute set is named `tour`",
            ),
            (
                "attributes: [legs,",
                "attributes: [arms,",
                "operations: plan-trip: do: request: attribute set `trip` has no `arms`",
            ),
            (
                "mcgrp: news",
                "mcgrp: gossip",
                "operations: trip-over: mcgrp: no multicast group is named `gossip`",
            ),
        ] {
            assert_eq!(fault(from, to), text);
        }
    }

    #[test]
    fn a_name_given_twice_is_an_error() {
        for (from, to, text) in [
            (
                "name: top-speed",
                "name: name-max",
                "definitions: `name-max` is there twice",
            ),
            (
                "name: by-ship",
                "name: on-foot",
                "definitions: mode-of-travel: entries: `on-foot` is there twice",
            ),
            (
                "name: mode\n",
                "name: legs\n",
                "attribute-sets: trip: attributes: `legs` is there twice",
            ),
            (
                "name: trip-get",
                "name: plan-trip",
                "operations: `plan-trip` is there twice",
            ),
            (
                "[legs, mode,",
                "[legs, legs,",
                "operations: plan-trip: do: request: `legs` is there twice",
            ),
        ] {
            assert_eq!(fault(from, to), text);
        }
    }

    #[test]
    fn checks_must_fit_the_type() {
        for (from, to, text) in [
            (
                "max: top-speed",
                "max: name-max",
                "attribute-sets: leg: speed: checks: max: 100000 does not fit the type, whose \
                 largest value is 65535",
            ),
            (
                "min: 1",
                "min: 100001",
                "attribute-sets: trip: cost: checks: 100001 is more than 100000",
            ),
            (
                "min-len: 2",
                "min: 2",
                "attribute-sets: trip: note: checks: min: does not go with type Binary",
            ),
            (
                "type: uint",
                "type: uint\n        byte-order: big-endian",
                "attribute-sets: trip: steps: byte-order: does not go with type Uint",
            ),
            (
                "enum: mode-of-travel",
                "enum: mode-of-travel\n        checks: {max: 1}",
                "attribute-sets: trip: mode: checks: the enum sets the range already",
            ),
            (
                "        nested-attributes: leg\n",
                "",
                "attribute-sets: trip: legs: a nest names its `nested-attributes`",
            ),
        ] {
            assert_eq!(fault(from, to), text);
        }
    }

    #[test]
    fn a_definition_or_operation_of_two_kinds_is_an_error() {
        for (from, to, text) in [
            (
                "    value: 250\n",
                "",
                "definitions: top-speed: a const has a `value` and no `entries`",
            ),
            (
                "    doc: How to get there.",
                "    doc: x\n    value: 1",
                "definitions: mode-of-travel: an enum has `entries` and no `value`",
            ),
            (
                "      mcgrp: news\n",
                "",
                "operations: trip-over: it is a command (`do`) or an event (`event` and `mcgrp`)",
            ),
            (
                "      event:",
                "      dump: {reply: {attributes: []}}\n      event:",
                "operations: trip-over: dump: an event has none",
            ),
            (
                "name: steps",
                "name: max",
                "attribute-sets: trip: max: the name is taken by a generated constant",
            ),
        ] {
            assert_eq!(fault(from, to), text);
        }
    }
}
