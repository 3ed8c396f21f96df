//! Schema and rules of MeshProxyPatch. That a value is a valid Envoy message is checked by those
//! who know Envoy's messages; here it must be an object.

use std::sync::LazyLock;

use super::{FilterMod, JsonPatch, MeshProxyPatch, Modification, Operation, PatchOp, VirtualHostMod};
use crate::kinds::registered::SpecType;
use crate::kinds::rules::{MUST_BE_DEFINED, MUST_NOT_BE_DEFINED, MUST_NOT_BE_EMPTY, one_of};
use crate::kinds::target_ref;
use crate::schema::{self, Schema};
use crate::violation::Violations;
use crate::yaml;

const PLAIN_OPERATIONS: &[&str] = &["Add", "Remove", "Patch"];
const FILTER_OPERATIONS: &[&str] = &["Remove", "Patch", "AddFirst", "AddBefore", "AddAfter", "AddLast"];

impl SpecType for MeshProxyPatch {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let tags = || schema::map(schema::string());
            let filter =
                || mod_schema(FILTER_OPERATIONS, &["name", "origin", "listenerName"], Some(("listenerTags", tags())));
            let virtual_host = mod_schema(PLAIN_OPERATIONS, &["name", "origin", "routeConfigurationName"], None);
            let item = schema::object([
                ("cluster", mod_schema(PLAIN_OPERATIONS, &["name", "origin"], None)),
                ("listener", mod_schema(PLAIN_OPERATIONS, &["name", "origin"], Some(("tags", tags())))),
                ("networkFilter", filter()),
                ("httpFilter", filter()),
                ("virtualHost", virtual_host.required(&["match"])),
            ]);
            let conf = schema::object([("appendModifications", schema::array(item))]);
            schema::object([("targetRef", target_ref::top_schema()), ("default", conf)]).required(&["default"])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), false);
        let modifications = self.default.append_modifications.as_deref().unwrap_or_default();
        if modifications.is_empty() {
            faults.add("spec.default.appendModifications", MUST_NOT_BE_EMPTY);
        }
        for (i, modification) in modifications.iter().enumerate() {
            faults.nest(&format!("spec.default.appendModifications[{i}]"), modification.faults());
        }
    }
}

fn mod_schema(operations: &[&str], names: &[&'static str], tags: Option<(&'static str, Schema)>) -> Schema {
    let patch = schema::object([
        ("op", schema::choice(PatchOp::TEXTS)),
        ("path", schema::string()),
        ("value", schema::any()),
        ("from", schema::string()),
    ]);
    let matched = schema::object(names.iter().map(|name| (*name, schema::string())).chain(tags));
    schema::object([
        ("match", matched),
        ("operation", schema::choice(operations)),
        ("value", schema::string()),
        ("jsonPatches", schema::array(patch.required(&["op", "path"]))),
    ])
    .required(&["operation"])
}

impl Modification {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let Self { cluster, listener, network_filter, http_filter, virtual_host } = self;
        let defined = [
            cluster.is_some(),
            listener.is_some(),
            network_filter.is_some(),
            http_filter.is_some(),
            virtual_host.is_some(),
        ];
        let count = defined.iter().filter(|defined| **defined).count();
        if count != 1 {
            let message = format!(
                "exactly one modification can be defined at a time. Currently, {count} modifications are defined"
            );
            faults.add("", message);
            return faults;
        }
        if let Some(one) = cluster {
            let change = Change::new("cluster", &one.operation, one.value.as_deref(), one.json_patches.as_deref());
            faults.nest("cluster", change.plain_faults(one.matched.is_some()));
        }
        if let Some(one) = listener {
            let change = Change::new("listener", &one.operation, one.value.as_deref(), one.json_patches.as_deref());
            faults.nest("listener", change.plain_faults(one.matched.is_some()));
        }
        for (path, filter) in [("networkFilter", network_filter), ("httpFilter", http_filter)] {
            if let Some(filter) = filter {
                faults.nest(path, filter.faults(path));
            }
        }
        if let Some(virtual_host) = virtual_host {
            faults.nest("virtualHost", virtual_host.faults());
        }
        faults
    }
}

/// The parts of a change that all kinds of things share.
struct Change<'a> {
    name: &'a str,
    operation: &'a Operation,
    value: Option<&'a str>,
    patches: Option<&'a [JsonPatch]>,
}

impl<'a> Change<'a> {
    fn new(name: &'a str, operation: &'a Operation, value: Option<&'a str>, patches: Option<&'a [JsonPatch]>) -> Self {
        Self { name, operation, value, patches }
    }

    /// The faults of a cluster's or a listener's change.
    fn plain_faults(&self, has_match: bool) -> Violations {
        let mut faults = Violations::new();
        if *self.operation == Operation::Add && has_match {
            faults.add("match", MUST_NOT_BE_DEFINED);
        }
        faults.append(self.value_faults(&[Operation::Add, Operation::Patch, Operation::Remove]));
        faults
    }

    /// The faults of operation, value and patches.
    fn value_faults(&self, allowed: &[Operation]) -> Violations {
        let mut faults = Violations::new();
        if !allowed.contains(self.operation) {
            let texts: Vec<_> = allowed.iter().map(|operation| format!("\"{operation}\"")).collect();
            faults.add("operation", format!("invalid operation. Available operations: {}", texts.join(", ")));
            return faults;
        }
        match self.operation {
            Operation::Remove => {
                if self.value.is_some() {
                    faults.add("value", MUST_NOT_BE_DEFINED);
                }
            }
            Operation::Patch => faults.append(self.patch_faults()),
            _ => match self.value {
                None => faults.add("value", MUST_BE_DEFINED),
                Some(value) => check_message(&mut faults, value),
            },
        }
        faults
    }

    fn patch_faults(&self) -> Violations {
        let mut faults = Violations::new();
        let name = self.name;
        let patches = self.patches.unwrap_or_default();
        match (self.value, patches.is_empty()) {
            (Some(_), false) => {
                faults.add("", format!("{name} must have only one type defined: value, jsonPatches"));
            }
            (None, true) => faults.add("", format!("{name} must have exactly one defined: value, jsonPatches")),
            (Some(value), true) => check_message(&mut faults, value),
            (None, false) => {}
        }
        for (j, patch) in patches.iter().enumerate() {
            faults.nest(&format!("jsonPatches[{j}]"), patch.faults());
        }
        faults
    }
}

/// The YAML of a message must be an object.
fn check_message(faults: &mut Violations, value: &str) {
    let why = match yaml::read(value) {
        Ok(message) if message.is_object() => return,
        Ok(_) => "it is not an object".to_owned(),
        Err(why) => why.to_string(),
    };
    faults.add("value", format!("native Envoy resource is not valid: {why}"));
}

impl FilterMod {
    fn faults(&self, name: &str) -> Violations {
        let mut faults = Violations::new();
        let change = Change::new(name, &self.operation, self.value.as_deref(), self.json_patches.as_deref());
        let is_named =
            self.matched.as_ref().and_then(|matched| matched.name.as_ref()).is_some_and(|name| !name.is_empty());
        let missing = match &self.operation {
            Operation::AddBefore => "must be defined. You need to pick a filter before which this one will be added",
            Operation::AddAfter => "must be defined. You need to pick a filter after which this one will be added",
            Operation::Patch => MUST_BE_DEFINED,
            _ => "",
        };
        if !missing.is_empty() && !is_named {
            faults.add("match.name", missing);
        }
        faults.append(change.value_faults(&[
            Operation::AddFirst,
            Operation::AddLast,
            Operation::AddBefore,
            Operation::AddAfter,
            Operation::Patch,
            Operation::Remove,
        ]));
        faults
    }
}

impl VirtualHostMod {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if self.operation == Operation::Add && self.matched.name.is_some() {
            faults.add("match.name", MUST_NOT_BE_DEFINED);
        }
        let change = Change::new("virtualHost", &self.operation, self.value.as_deref(), self.json_patches.as_deref());
        faults.append(change.value_faults(&[Operation::Add, Operation::Patch, Operation::Remove]));
        faults
    }
}

impl JsonPatch {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let (needs_from, needs_value) = match &self.op {
            PatchOp::Move | PatchOp::Copy => (true, false),
            PatchOp::Add | PatchOp::Replace => (false, true),
            PatchOp::Remove => (false, false),
            PatchOp::Unknown(_) => {
                faults.add("op", one_of("op", PatchOp::TEXTS));
                return faults;
            }
        };
        let has_from = self.from.as_ref().is_some_and(|from| !from.is_empty());
        let from_ops = r#"when "op" is one of ["move", "copy"]"#;
        let value_ops = r#"when "op" is one of ["add", "replace"]"#;
        match (needs_from, has_from) {
            (true, false) => faults.add("from", format!("\"from\" must not be empty {from_ops}")),
            (false, true) => faults.add("from", format!("\"from\" is allowed only {from_ops}")),
            (true, true) | (false, false) => {}
        }
        match (needs_value, self.value.is_some()) {
            (true, false) => faults.add("value", format!("\"value\" must not be empty {value_ops}")),
            (false, true) => faults.add("value", format!("\"value\" is allowed only {value_ops}")),
            (true, true) | (false, false) => {}
        }
        if self.op == PatchOp::Remove && (self.path.is_empty() || self.path == "/") {
            faults.add("path", "root path cannot be removed");
        } else if self.path.is_empty() {
            faults.add("path", MUST_BE_DEFINED);
        }
        faults
    }
}
