//! Bytes on disk and between replicas: the only place that knows bincode.
//!
//! A record is `format (1 byte) | xxh3-64 of the body (8 bytes, little endian) | body`; since format 3 the
//! format is the seed of the hash, so that a flipped bit does not make one format another. The body is
//! bincode with fixed-width little-endian integers. Only closed structs without serde attributes
//! travel here; resource specs are JSON text inside them, because bincode cannot carry
//! self-describing values.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The newest format that this build reads and writes. What an older one can express is written in
/// that: versions one release apart work together in one group.
///
/// - 1: the first.
/// - 2: transactions with their author; requests for vitals, for presence, and with the join secret.
/// - 3: the replacement of the authority.
pub(crate) const FORMAT: u8 = 3;

/// The oldest format that any build of a group reads.
pub(crate) const FORMAT_OLDEST: u8 = 1;

/// How every refusal of a newer format begins; replicas recognise it in each other's answers.
pub(crate) const NEWER: &str = "written by a newer version";

/// No record is larger. Also bounds what a corrupted length can make the decoder allocate.
pub(crate) const RECORD_BYTES_MAX: u64 = 64 * 1024 * 1024;

const HEAD_BYTES: usize = 9;

/// Why a record could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// A newer build wrote it.
    #[error("{NEWER} (format {found}, this one reads up to {reads})")]
    Newer {
        /// The format byte of the record.
        found: u8,
        /// The newest that is read.
        reads: u8,
    },
    /// It names a resource kind that this build does not know.
    #[error("{NEWER} (unknown resource kind {0})")]
    UnknownKind(String),
    /// A newer build enabled a sealing key that this replica lacks, or the key file was lost.
    #[error("sealed with key {0}, which this replica does not have")]
    MissingKey(u32),
    /// The bytes are not what was written.
    #[error("corrupted: {0}")]
    Corrupted(String),
    /// The value is larger than a record may be.
    #[error("larger than {RECORD_BYTES_MAX} bytes")]
    TooLarge,
}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(RECORD_BYTES_MAX).reject_trailing_bytes()
}

/// Encodes a record in the oldest format.
///
/// # Errors
/// [`CodecError::TooLarge`]; records have no shape that bincode refuses.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    encode_in(FORMAT_OLDEST, value)
}

/// Encodes a record that needs a format.
///
/// # Errors
/// See [`encode`].
pub(crate) fn encode_in<T: Serialize>(format: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let body_bytes = options().serialized_size(value).map_err(|_| CodecError::TooLarge)?;
    let mut record = Vec::with_capacity(HEAD_BYTES + usize::try_from(body_bytes).map_err(|_| CodecError::TooLarge)?);
    record.resize(HEAD_BYTES, format);
    options().serialize_into(&mut record, value).map_err(|_| CodecError::TooLarge)?;
    let checksum = checksum(format, &record[HEAD_BYTES..]);
    record[1..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(record)
}

fn checksum(format: u8, body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, if format < 3 { 0 } else { u64::from(format) })
}

/// The format of a record, when it is at most `reads`.
///
/// # Errors
/// [`CodecError::Newer`], and [`CodecError::Corrupted`] for an empty record.
pub(crate) fn format_of(record: &[u8], reads: u8) -> Result<u8, CodecError> {
    match record.first() {
        None => Err(CodecError::Corrupted("empty record".to_owned())),
        Some(&found) if found > reads => Err(CodecError::Newer { found, reads }),
        Some(&found) => Ok(found),
    }
}

/// Decodes a record that [`encode`] made.
///
/// # Errors
/// [`CodecError::Newer`] and [`CodecError::Corrupted`].
pub(crate) fn decode<T: DeserializeOwned>(record: &[u8]) -> Result<T, CodecError> {
    let Some((&format, rest)) = record.split_first() else {
        return Err(CodecError::Corrupted("empty record".to_owned()));
    };
    if format > FORMAT {
        return Err(CodecError::Newer { found: format, reads: FORMAT });
    }
    let Some((expected, body)) = rest.split_first_chunk::<8>() else {
        return Err(CodecError::Corrupted("short record".to_owned()));
    };
    if format == 0 || checksum(format, body) != u64::from_le_bytes(*expected) {
        return Err(CodecError::Corrupted("checksum does not match".to_owned()));
    }
    options().deserialize(body).map_err(|e| CodecError::Corrupted(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_these_bytes() {
        let record = encode(&(7u64, "ab".to_owned(), Some(1u32))).unwrap();
        assert_eq!(record[0], 1);
        assert_eq!(
            &record[9..],
            [7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', 1, 1, 0, 0, 0].as_slice()
        );
        assert_eq!(decode::<(u64, String, Option<u32>)>(&record).unwrap(), (7, "ab".to_owned(), Some(1)));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        for format in [FORMAT_OLDEST, FORMAT] {
            let record = encode_in(format, &(7u64, vec![1u8, 2, 3])).unwrap();
            for byte in 0..record.len() {
                for bit in 0..8 {
                    let mut bad = record.clone();
                    bad[byte] ^= 1 << bit;
                    assert!(decode::<(u64, Vec<u8>)>(&bad).is_err(), "format {format} byte {byte} bit {bit}");
                }
                assert!(decode::<(u64, Vec<u8>)>(&record[..byte]).is_err(), "format {format} cut at {byte}");
            }
        }
    }

    #[test]
    fn a_newer_format_is_told_from_corruption() {
        let mut record = encode(&1u64).unwrap();
        record[0] = FORMAT + 1;
        assert_eq!(decode::<u64>(&record), Err(CodecError::Newer { found: FORMAT + 1, reads: FORMAT }));
        assert_eq!(format_of(&encode(&1u64).unwrap(), 1), Ok(1));
        assert_eq!(format_of(&encode_in(2, &1u64).unwrap(), 1), Err(CodecError::Newer { found: 2, reads: 1 }));
    }
}
