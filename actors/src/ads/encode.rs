//! `DeltaDiscoveryResponse` on the wire, written by hand: resources are encoded once for all
//! proxies, and large ones are handed to the connection without a copy.
//!
//! Field numbers: `DeltaDiscoveryResponse` {system_version_info 1, resources 2, type_url 4, nonce 5,
//! removed_resources 6, control_plane 7}, `Resource` {version 1, resource 2, name 3}, `Any`
//! {type_url 1, value 2}, `ControlPlane` {identifier 1}.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use xds::Entry;
use xds::session::DeltaResponse;

/// From this size on a resource is shared instead of copied; below it a copy is cheaper than a
/// frame of its own.
const SHARE_LEN_MIN: usize = 8 * 1024;

/// Wire type of strings, bytes and messages.
const LENGTH_DELIMITED: u64 = 2;

/// The length of the prefix of a gRPC message.
const PREFIX_LEN: usize = 5;

/// A response as one gRPC message, in pieces that follow each other on the wire.
pub(crate) fn encode(response: &DeltaResponse, control_plane: &str) -> VecDeque<Bytes> {
    let type_url = response.ty.type_url();
    let version = response.revision.to_string();
    let nonce = response.nonce.to_string();
    let resources: Vec<ResourceLens> = response.upserts.iter().map(|entry| ResourceLens::of(entry, type_url)).collect();

    let len = field_len(version.len())
        + resources.iter().map(|lens| field_len(lens.resource)).sum::<usize>()
        + field_len(type_url.len())
        + field_len(nonce.len())
        + response.removals.iter().map(|name| field_len(name.len())).sum::<usize>()
        + field_len(field_len(control_plane.len()));

    let mut pieces =
        Pieces { done: VecDeque::new(), buffer: BytesMut::with_capacity(len.min(SHARE_LEN_MIN) + PREFIX_LEN) };
    pieces.buffer.put_u8(0);
    pieces.buffer.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    pieces.text(1, &version);
    for (entry, lens) in response.upserts.iter().zip(&resources) {
        pieces.resource(entry, *lens, type_url);
    }
    pieces.text(4, type_url);
    pieces.text(5, &nonce);
    for name in &response.removals {
        pieces.text(6, name);
    }
    pieces.head(7, field_len(control_plane.len()));
    pieces.text(1, control_plane);
    pieces.finish()
}

/// Lengths of the messages inside each other.
#[derive(Clone, Copy)]
struct ResourceLens {
    resource: usize,
    any: usize,
}

impl ResourceLens {
    fn of(entry: &Entry, type_url: &str) -> Self {
        let any = field_len(type_url.len()) + field_len(entry.resource.body.len());
        let resource = field_len(VERSION_LEN) + field_len(any) + field_len(entry.resource.name.len());
        Self { resource, any }
    }
}

/// The length of a version's text: 16 hexadecimal digits.
const VERSION_LEN: usize = 16;

/// The length of a field with a number below 16 and this many bytes of content.
fn field_len(content: usize) -> usize {
    1 + varint_len(content) + content
}

fn varint_len(value: usize) -> usize {
    let bits = (usize::BITS - (value | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

struct Pieces {
    done: VecDeque<Bytes>,
    buffer: BytesMut,
}

impl Pieces {
    fn head(&mut self, field: u64, len: usize) {
        self.varint(field << 3 | LENGTH_DELIMITED);
        self.varint(len as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.head(field, text.len());
        self.buffer.put_slice(text.as_bytes());
    }

    fn resource(&mut self, entry: &Entry, lens: ResourceLens, type_url: &str) {
        self.head(2, lens.resource);
        self.text(1, &entry.version.to_string());
        self.head(2, lens.any);
        self.text(1, type_url);
        self.shared(2, &entry.resource.body);
        self.text(3, &entry.resource.name);
    }

    fn shared(&mut self, field: u64, body: &Bytes) {
        self.head(field, body.len());
        if body.len() < SHARE_LEN_MIN {
            self.buffer.put_slice(body);
        } else {
            self.done.push_back(self.buffer.split().freeze());
            self.done.push_back(body.clone());
        }
    }

    fn finish(mut self) -> VecDeque<Bytes> {
        if !self.buffer.is_empty() {
            self.done.push_back(self.buffer.freeze());
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
    use prost::Message;
    use xds::session::Nonce;
    use xds::{ContentHash, EncodedResource, ResourceType};

    use super::*;

    fn entry(name: &str, len: usize) -> Entry {
        let body = Bytes::from(vec![7; len]);
        let hash = ContentHash::of(&body);
        let resource = Arc::new(EncodedResource { ty: ResourceType::Cluster, name: name.into(), hash, body });
        Entry { resource, version: hash }
    }

    #[test]
    fn a_protobuf_decoder_reads_what_was_written() {
        let response = DeltaResponse {
            ty: ResourceType::Cluster,
            nonce: Nonce(300),
            revision: 77,
            upserts: vec![entry("tiny", 1), entry("small", 200), entry("large", 20_000), entry("last", 9_000)],
            removals: vec!["gone".into(), "x".repeat(200).into()],
        };
        let pieces = encode(&response, "cp-1");
        assert!(pieces.iter().any(|piece| piece.as_ptr() == response.upserts[2].resource.body.as_ptr()), "shared");

        let wire: Vec<u8> = pieces.into_iter().flatten().collect();
        let len = u32::from_be_bytes(wire[1..5].try_into().unwrap()) as usize;
        assert_eq!((wire[0], len), (0, wire.len() - PREFIX_LEN));
        let decoded = DeltaDiscoveryResponse::decode(&wire[PREFIX_LEN..]).unwrap();
        assert_eq!(decoded.encoded_len(), len, "no field is unknown to the decoder");
        assert_eq!((&*decoded.nonce, &*decoded.system_version_info), ("300", "77"));
        assert_eq!(decoded.type_url, ResourceType::Cluster.type_url());
        assert_eq!(decoded.control_plane.unwrap().identifier, "cp-1");
        assert_eq!(decoded.removed_resources, ["gone".to_owned(), "x".repeat(200)]);
        for (entry, read) in response.upserts.iter().zip(&decoded.resources) {
            let any = read.resource.as_ref().unwrap();
            assert_eq!((&*read.name, &read.version), (&*entry.resource.name, &entry.version.to_string()));
            assert_eq!((&*any.type_url, &any.value[..]), (ResourceType::Cluster.type_url(), &entry.resource.body[..]));
        }
    }
}
