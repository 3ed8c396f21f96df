//! Where in Envoy's messages maps are: what sorting their entries needs to know of the descriptors.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::Message;
use prost_reflect::prost_types::field_descriptor_proto::Type;
use prost_reflect::prost_types::{DescriptorProto, FileDescriptorSet};

/// Position of a message type in the tables.
pub(super) type TypeId = usize;

/// What to do with a length-delimited field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A map, with the type of its entries.
    Map(TypeId),
    /// A message that can hold a map.
    Message(TypeId),
}

/// What of one message type can hold a map.
#[derive(Debug, Default)]
pub(super) struct MessageType {
    /// Steps by field number, in order.
    steps: Vec<(u32, Step)>,
    /// Whether it is `google.protobuf.Any`.
    pub(super) is_any: bool,
}

impl MessageType {
    pub(super) fn step(&self, field: u32) -> Option<Step> {
        self.steps.iter().find(|(number, _)| *number == field).map(|(_, step)| *step)
    }
}

/// All message types that can hold a map, or something packed that does.
#[derive(Debug, Default)]
pub(super) struct Tables {
    types: Vec<MessageType>,
    by_name: BTreeMap<String, TypeId>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables::read(crate::json::DESCRIPTORS));

impl Tables {
    /// The tables of Envoy's API.
    pub(super) fn get() -> &'static Self {
        &TABLES
    }

    pub(super) fn of(&self, id: TypeId) -> Option<&MessageType> {
        self.types.get(id)
    }

    /// The type with this full name; `None` when no map can be in it.
    pub(super) fn by_name(&self, full_name: &str) -> Option<TypeId> {
        self.by_name.get(full_name).copied()
    }

    fn read(descriptors: &[u8]) -> Self {
        let Ok(set) = FileDescriptorSet::decode(descriptors) else { return Self::default() };
        let mut messages = BTreeMap::new();
        for file in set.file {
            let package = file.package().to_owned();
            for message in file.message_type {
                collect(&package, message, &mut messages);
            }
        }
        Self::of_messages(&messages)
    }

    fn of_messages(messages: &BTreeMap<String, Fields>) -> Self {
        let holders = holders(messages);
        let by_name: BTreeMap<String, TypeId> =
            holders.iter().enumerate().map(|(id, name)| ((*name).clone(), id)).collect();
        let types = holders.iter().map(|name| {
            let fields = messages.get(*name).map(|fields| fields.fields.as_slice()).unwrap_or_default();
            let steps = fields.iter().filter_map(|(number, ty)| {
                let is_map = messages.get(ty).is_some_and(|target| target.is_map_entry);
                // Entries of a map are sorted whatever their values are.
                let step = if is_map { Step::Map } else { Step::Message };
                by_name.get(ty).map(|id| (*number, step(*id)))
            });
            MessageType { steps: steps.collect(), is_any: name.as_str() == ANY }
        });
        Self { types: types.collect(), by_name }
    }
}

const ANY: &str = "google.protobuf.Any";

/// The fields of a message type that are messages: number and type.
struct Fields {
    fields: Vec<(u32, String)>,
    is_map_entry: bool,
}

fn collect(scope: &str, message: DescriptorProto, messages: &mut BTreeMap<String, Fields>) {
    let name = format!("{scope}.{}", message.name());
    let fields = message.field.iter().filter(|field| field.r#type() == Type::Message);
    let fields = fields.map(|field| {
        (u32::try_from(field.number()).unwrap_or_default(), field.type_name().trim_start_matches('.').to_owned())
    });
    let is_map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
    messages.insert(name.clone(), Fields { fields: fields.collect(), is_map_entry });
    for nested in message.nested_type {
        collect(&name, nested, messages);
    }
}

/// The names of all types from which a map or an `Any` can be reached, in order.
fn holders(messages: &BTreeMap<String, Fields>) -> Vec<&String> {
    let mut users: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for (name, fields) in messages {
        for (_, ty) in &fields.fields {
            users.entry(ty).or_default().push(name);
        }
    }
    let is_root = |(name, fields): &(&String, &Fields)| fields.is_map_entry || name.as_str() == ANY;
    let mut found: BTreeMap<&String, ()> = BTreeMap::new();
    let mut pending: Vec<&String> = messages.iter().filter(is_root).map(|(name, _)| name).collect();
    while let Some(name) = pending.pop() {
        if found.insert(name, ()).is_none() {
            pending.extend(users.get(name.as_str()).into_iter().flatten());
        }
    }
    found.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_without_maps_are_left_out() {
        let tables = Tables::get();
        assert!(tables.by_name("envoy.config.cluster.v3.Cluster").is_some());
        assert!(tables.by_name("google.protobuf.Struct").is_some());
        assert!(tables.by_name("envoy.config.core.v3.SocketAddress").is_none());
        assert!(tables.by_name("google.protobuf.Duration").is_none());
    }
}
