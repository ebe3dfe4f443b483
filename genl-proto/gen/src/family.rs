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
        let spec: Spec = serde_saphyr::from_str(yaml)?;

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
        let (min, max) = (min.context("lower check")?, max.context("upper check")?);
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
