//! Makes `descriptors/envoy.bin` from the descriptor set that `envoy-types` carries, without its
//! comments: `cargo run -p xds --example descriptors -- <envoy-types>/types.bin descriptors/envoy.bin`.
//! It works on the wire, so that options which no type here knows are kept as they are.

use std::path::PathBuf;

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// `FileDescriptorSet.file`.
const FILE: u32 = 1;
/// `FileDescriptorProto.source_code_info`.
const COMMENTS: u32 = 9;

/// Number, raw bytes, and the payload, empty for those that have none.
type Field<'a> = (u32, &'a [u8], &'a [u8]);

/// The fields of a message whose fields are all length-delimited or numbers.
fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, prost::DecodeError> {
    let mut found = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let (number, wire_type) = decode_key(&mut rest)?;
        let len = decode_varint(&mut rest)? as usize;
        let payload = if wire_type == WireType::LengthDelimited { &rest[..len] } else { &[] };
        rest = &rest[payload.len()..];
        found.push((number, &start[..start.len() - rest.len()], payload));
    }
    Ok(found)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(from), Some(to)) = (paths.next(), paths.next()) else {
        return Err("usage: descriptors FROM TO".into());
    };
    let set = std::fs::read(&from)?;
    let mut stripped = Vec::new();
    for (_, _, file) in fields(&set)?.into_iter().filter(|(number, ..)| *number == FILE) {
        let kept: Vec<u8> =
            fields(file)?.iter().filter(|(number, ..)| *number != COMMENTS).flat_map(|f| f.1.to_vec()).collect();
        encode_key(FILE, WireType::LengthDelimited, &mut stripped);
        encode_varint(kept.len() as u64, &mut stripped);
        stripped.extend(kept);
    }
    std::fs::write(&to, stripped)?;
    Ok(())
}
