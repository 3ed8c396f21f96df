//! One byte string for one message: the entries of its maps in order.
//!
//! `envoy-types` keeps maps in hash maps, so that equal messages encode differently, from process to
//! process and from one instance to the next. Sorting permutes bytes and changes no length: it
//! works in place, on the encoded message, through everything that is packed inside.

use super::tables::{Step, Tables, TypeId};

/// Packed messages may nest this deep; what lies deeper is left as it is.
const DEPTH_MAX: usize = 100;

/// Puts an encoded message of the type `full_name` into its canonical form. Bytes that are no such
/// message are left as they are from the first fault on.
pub fn canonicalize(full_name: &str, bytes: &mut [u8]) {
    let tables = Tables::get();
    if let Some(id) = tables.by_name(full_name) {
        sort(tables, id, bytes, 0);
    }
}

/// One field: where its tag begins, where its payload begins, and where it ends.
pub(super) struct Field {
    pub(super) number: u32,
    is_delimited: bool,
    pub(super) start: usize,
    payload: usize,
    pub(super) end: usize,
}

fn sort(tables: &Tables, id: TypeId, bytes: &mut [u8], depth: usize) {
    let Some(ty) = tables.of(id).filter(|_| depth < DEPTH_MAX) else { return };
    if ty.is_any {
        return sort_packed(tables, bytes, depth);
    }
    let mut at = 0;
    let mut run: Vec<(usize, usize)> = Vec::new();
    let mut run_field = 0;
    while let Some(field) = next_field(bytes, at) {
        at = field.end;
        let step = if field.is_delimited { ty.step(field.number) } else { None };
        if field.number != run_field {
            sort_run(bytes, &mut run);
        }
        match step {
            None => {}
            Some(Step::Message(inner)) => sort(tables, inner, &mut bytes[field.payload..field.end], depth + 1),
            Some(Step::Map(entry)) => {
                sort(tables, entry, &mut bytes[field.payload..field.end], depth + 1);
                run.push((field.start, field.end));
                run_field = field.number;
            }
        }
    }
    sort_run(bytes, &mut run);
}

/// The payload of an `Any`, by the type that it names.
fn sort_packed(tables: &Tables, bytes: &mut [u8], depth: usize) {
    let (mut ty, mut value) = (None, None);
    let mut at = 0;
    while let Some(field) = next_field(bytes, at) {
        at = field.end;
        match (field.number, field.is_delimited) {
            (1, true) => {
                let url = std::str::from_utf8(&bytes[field.payload..field.end]).unwrap_or_default();
                ty = tables.by_name(url.rsplit('/').next().unwrap_or_default());
            }
            (2, true) => value = Some(field.payload..field.end),
            _ => {}
        }
    }
    if let (Some(ty), Some(value)) = (ty, value) {
        sort(tables, ty, &mut bytes[value], depth + 1);
    }
}

/// Sorts the entries of one map, which stand next to each other.
fn sort_run(bytes: &mut [u8], run: &mut Vec<(usize, usize)>) {
    let (Some((start, _)), Some((_, end))) = (run.first().copied(), run.last().copied()) else { return };
    let is_sorted = run.windows(2).all(|pair| bytes[pair[0].0..pair[0].1] <= bytes[pair[1].0..pair[1].1]);
    if run.len() > 1 && !is_sorted {
        let old = bytes[start..end].to_vec();
        run.sort_by(|a, b| old[a.0 - start..a.1 - start].cmp(&old[b.0 - start..b.1 - start]));
        let mut at = start;
        for (from, to) in run.iter() {
            bytes[at..at + (to - from)].copy_from_slice(&old[from - start..to - start]);
            at += to - from;
        }
    }
    run.clear();
}

/// The field at `at`; `None` at the end, and where there is no field.
pub(super) fn next_field(bytes: &[u8], at: usize) -> Option<Field> {
    let (tag, payload) = varint(bytes, at)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0)?;
    let (payload, end, is_delimited) = match tag & 7 {
        0 => (payload, varint(bytes, payload)?.1, false),
        1 => (payload, payload.checked_add(8)?, false),
        2 => {
            let (len, payload) = varint(bytes, payload)?;
            (payload, payload.checked_add(usize::try_from(len).ok()?)?, true)
        }
        5 => (payload, payload.checked_add(4)?, false),
        _ => return None,
    };
    (end <= bytes.len()).then_some(Field { number, is_delimited, start: at, payload, end })
}

/// The number at `at`, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index as u32).min(63);
        if byte & 0x80 == 0 {
            return Some((value, at + index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::envoy::cluster::Cluster;
    use crate::envoy::core::Metadata;
    use crate::envoy::listener::Listener;
    use crate::envoy::string_struct;
    use crate::generators::blocks::{http_options, tls_inspector};
    use crate::protocol::Protocol;
    use crate::resource_set::{ClusterResource, Origin};

    fn metadata(keys: usize) -> Metadata {
        let names: Vec<_> = (0..keys).map(|i| format!("key-{i}")).collect();
        let fields = || string_struct(names.iter().map(|name| (name.as_str(), "value")));
        Metadata { filter_metadata: names.iter().map(|name| (name.clone(), fields())).collect(), ..Default::default() }
    }

    fn canonical(message: &impl Message, name: &str) -> Vec<u8> {
        let mut bytes = message.encode_to_vec();
        canonicalize(name, &mut bytes);
        bytes
    }

    #[test]
    fn equal_messages_have_equal_bytes() {
        let listener =
            || Listener { metadata: Some(metadata(9)), listener_filters: vec![tls_inspector()], ..Default::default() };
        let encoded: BTreeSet<_> =
            (0..20).map(|_| canonical(&listener(), "envoy.config.listener.v3.Listener")).collect();
        assert_eq!(encoded.len(), 1);
        let bytes = encoded.into_iter().next().unwrap();
        assert_eq!(Listener::decode(bytes.as_slice()).unwrap(), listener());
    }

    #[test]
    fn maps_inside_of_packed_messages_are_sorted() {
        let cluster = || {
            let mut resource = ClusterResource::new(Origin::Inbound, Cluster::default());
            resource.http_options = http_options(Protocol::Http);
            let packed = crate::envoy::pack(&Listener { metadata: Some(metadata(7)), ..Default::default() });
            let mut cluster = resource.pack();
            cluster.typed_extension_protocol_options.insert("packed".to_owned(), packed);
            cluster
        };
        let encoded: BTreeSet<_> = (0..20).map(|_| canonical(&cluster(), "envoy.config.cluster.v3.Cluster")).collect();
        assert_eq!(encoded.len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_only_permuted(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut before = bytes.clone();
            canonicalize("envoy.config.listener.v3.Listener", &mut bytes);
            before.sort_unstable();
            let mut after = bytes.clone();
            after.sort_unstable();
            prop_assert_eq!(before, after);
        }
    }
}
