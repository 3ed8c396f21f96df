//! What stands in records: transactions, resources, log entries, votes.
//!
//! These structs are the disk format. Their fields never change; a new shape is a new enum variant
//! at the end, or a new [`crate::codec::FORMAT`]. Specs are the JSON text of the typed value and
//! are decoded by the codec of their kind.

use bytes::Bytes;
use model::{Key, Labels, Meta, Resource, Spec, Timestamp, registry};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use store::{Guard, Op, Put, StatusChange, Txn};

use crate::codec::{self, CodecError, FORMAT_OLDEST};
use crate::seal::{Keyring, Sealed, is_secret};

/// A point in time: seconds and nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Time(i64, i32);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at.as_second(), at.subsec_nanosecond())
    }
}

impl Time {
    /// The time, or why it is none.
    pub(crate) fn timestamp(self) -> Result<Timestamp, CodecError> {
        Timestamp::new(self.0, self.1).map_err(|e| CodecError::Corrupted(e.to_string()))
    }
}

/// A resource key by names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    kind: String,
    mesh: String,
    name: String,
}

impl KeyRecord {
    pub(crate) fn of(key: &Key) -> Self {
        Self { kind: key.kind.name.to_owned(), mesh: key.mesh.to_string(), name: key.name.to_string() }
    }

    /// The key, or why it is none.
    pub(crate) fn key(&self) -> Result<Key, CodecError> {
        let kind = registry::by_name(&self.kind).ok_or_else(|| CodecError::UnknownKind(self.kind.clone()))?;
        Ok(Key::new(kind, &self.mesh, &self.name))
    }
}

/// The JSON text of a spec or status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SpecRecord {
    Plain(ByteBuf),
    Sealed(Sealed),
}

#[derive(Clone, Copy)]
enum Part {
    Spec,
    Status,
}

impl SpecRecord {
    fn of(key: &Key, spec: &Spec, keys: &Keyring) -> Result<Self, CodecError> {
        let text = spec.json().as_bytes();
        if is_secret(key.kind) {
            return Ok(Self::Sealed(keys.seal(text, &key.to_string())?));
        }
        Ok(Self::Plain(text.to_vec().into()))
    }

    /// A text that the codec of its kind no longer accepts is kept as it is: one odd resource must
    /// not keep a control plane from starting.
    fn spec(&self, key: &Key, part: Part, keys: &Keyring) -> Result<Spec, CodecError> {
        let opened;
        let text = match self {
            Self::Plain(text) => text.as_slice(),
            Self::Sealed(sealed) => {
                opened = keys.open(sealed, &key.to_string())?;
                &opened
            }
        };
        let text = std::str::from_utf8(text).map_err(|e| CodecError::Corrupted(format!("{key}: {e}")))?;
        let restore = match part {
            Part::Spec => key.kind.codec.restore,
            Part::Status => key.kind.codec.restore_status,
        };
        restore(text).or_else(|error| {
            tracing::warn!(%key, %error, "stored text is not of its kind's shape, kept undecoded");
            let raw = serde_json::from_str(text).map_err(|e| CodecError::Corrupted(format!("{key}: {e}")))?;
            model::codec::decode::<serde_json::Value>(raw).map_err(|e| CodecError::Corrupted(format!("{key}: {e}")))
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum GuardRecord {
    Absent(KeyRecord),
    Present(KeyRecord),
    Version(KeyRecord, u64),
    Term(u64),
}

impl GuardRecord {
    fn of(guard: &Guard) -> Self {
        match guard {
            Guard::Absent(key) => Self::Absent(KeyRecord::of(key)),
            Guard::Present(key) => Self::Present(KeyRecord::of(key)),
            Guard::Version(key, version) => Self::Version(KeyRecord::of(key), *version),
            Guard::Term(term) => Self::Term(*term),
        }
    }

    fn guard(&self) -> Result<Guard, CodecError> {
        Ok(match self {
            Self::Absent(key) => Guard::Absent(key.key()?),
            Self::Present(key) => Guard::Present(key.key()?),
            Self::Version(key, version) => Guard::Version(key.key()?, *version),
            Self::Term(term) => Guard::Term(*term),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PutRecord {
    key: KeyRecord,
    labels: Vec<(String, String)>,
    spec: SpecRecord,
    /// `None` keeps the stored status.
    status: Option<SpecRecord>,
    owner: Option<KeyRecord>,
    times: Option<(Time, Time)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum OpRecord {
    Put(PutRecord),
    PutStatus(KeyRecord, SpecRecord),
    Delete(KeyRecord),
}

impl OpRecord {
    fn of(op: &Op, keys: &Keyring) -> Result<Self, CodecError> {
        Ok(match op {
            Op::Put(put) => Self::Put(PutRecord {
                key: KeyRecord::of(&put.key),
                labels: pairs(&put.labels),
                spec: SpecRecord::of(&put.key, &put.spec, keys)?,
                status: match &put.status {
                    StatusChange::Keep => None,
                    StatusChange::Set(status) => Some(SpecRecord::of(&put.key, status, keys)?),
                },
                owner: put.owner.as_ref().map(KeyRecord::of),
                times: put.times.map(|(created, modified)| (created.into(), modified.into())),
            }),
            Op::PutStatus { key, status } => Self::PutStatus(KeyRecord::of(key), SpecRecord::of(key, status, keys)?),
            Op::Delete(key) => Self::Delete(KeyRecord::of(key)),
        })
    }

    fn op(self, keys: &Keyring) -> Result<Op, CodecError> {
        Ok(match self {
            Self::Put(put) => {
                let key = put.key.key()?;
                let times = match put.times {
                    None => None,
                    Some((created, modified)) => Some((created.timestamp()?, modified.timestamp()?)),
                };
                Op::Put(Put {
                    labels: put.labels.into_iter().collect(),
                    spec: put.spec.spec(&key, Part::Spec, keys)?,
                    status: match put.status {
                        None => StatusChange::Keep,
                        Some(status) => StatusChange::Set(status.spec(&key, Part::Status, keys)?),
                    },
                    owner: put.owner.map(|owner| owner.key()).transpose()?,
                    times,
                    key,
                })
            }
            Self::PutStatus(key, status) => {
                let key = key.key()?;
                let status = status.spec(&key, Part::Status, keys)?;
                Op::PutStatus { key, status }
            }
            Self::Delete(key) => Op::Delete(key.key()?),
        })
    }
}

fn pairs(labels: &Labels) -> Vec<(String, String)> {
    labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TxnRecord {
    guards: Vec<GuardRecord>,
    ops: Vec<OpRecord>,
}

impl TxnRecord {
    /// The record of a transaction, its secrets sealed.
    pub(crate) fn of(txn: &Txn, keys: &Keyring) -> Result<Self, CodecError> {
        Ok(Self {
            guards: txn.guards.iter().map(GuardRecord::of).collect(),
            ops: txn.ops.iter().map(|op| OpRecord::of(op, keys)).collect::<Result<_, _>>()?,
        })
    }

    /// The transaction again.
    pub(crate) fn txn(self, keys: &Keyring) -> Result<Txn, CodecError> {
        Ok(Txn {
            guards: self.guards.iter().map(GuardRecord::guard).collect::<Result<_, _>>()?,
            ops: self.ops.into_iter().map(|op| op.op(keys)).collect::<Result<_, _>>()?,
            author: None,
        })
    }
}

/// A transaction with its author: since format 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AuthoredTxnRecord {
    author: String,
    txn: TxnRecord,
}

/// Encodes a transaction, its secrets sealed, for replicas that read `format`. In the oldest one
/// it has no author.
pub(crate) fn encode_txn(txn: &Txn, keys: &Keyring, format: u8) -> Result<Vec<u8>, CodecError> {
    let record = TxnRecord::of(txn, keys)?;
    match &txn.author {
        Some(author) if format > FORMAT_OLDEST => {
            codec::encode_in(2, &AuthoredTxnRecord { author: author.to_string(), txn: record })
        }
        _ => codec::encode(&record),
    }
}

/// Decodes what [`encode_txn`] made, when its format is at most `reads`.
pub(crate) fn decode_txn(bytes: &[u8], keys: &Keyring, reads: u8) -> Result<Txn, CodecError> {
    if codec::format_of(bytes, reads)? == FORMAT_OLDEST {
        return codec::decode::<TxnRecord>(bytes)?.txn(keys);
    }
    let AuthoredTxnRecord { author, txn } = codec::decode(bytes)?;
    Ok(txn.txn(keys)?.by(&author))
}

/// A stored resource, in snapshots and backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResourceRecord {
    key: KeyRecord,
    labels: Vec<(String, String)>,
    created: Time,
    modified: Time,
    version: u64,
    owner: Option<KeyRecord>,
    spec: SpecRecord,
    status: Option<SpecRecord>,
}

impl ResourceRecord {
    /// The record of a resource, sealed when it is a secret.
    pub(crate) fn of(resource: &Resource, keys: &Keyring) -> Result<Self, CodecError> {
        Ok(Self {
            key: KeyRecord::of(&resource.key),
            labels: pairs(&resource.meta.labels),
            created: resource.meta.creation_time.into(),
            modified: resource.meta.modification_time.into(),
            version: resource.meta.version,
            owner: resource.meta.owner.as_ref().map(KeyRecord::of),
            spec: SpecRecord::of(&resource.key, &resource.spec, keys)?,
            status: match &resource.status {
                None => None,
                Some(status) => Some(SpecRecord::of(&resource.key, status, keys)?),
            },
        })
    }

    /// The resource again.
    pub(crate) fn resource(self, keys: &Keyring) -> Result<Resource, CodecError> {
        let key = self.key.key()?;
        Ok(Resource {
            meta: Meta {
                labels: self.labels.into_iter().collect(),
                creation_time: self.created.timestamp()?,
                modification_time: self.modified.timestamp()?,
                version: self.version,
                owner: self.owner.map(|owner| owner.key()).transpose()?,
            },
            spec: self.spec.spec(&key, Part::Spec, keys)?,
            status: self.status.map(|status| status.spec(&key, Part::Status, keys)).transpose()?,
            key,
        })
    }
}

/// A command of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CommandRecord {
    /// Transactions that were proposed together at one time; each is a record of its own.
    Commit { at: Time, txns: Vec<Bytes> },
}

/// Identity of a log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdRecord {
    pub(crate) term: u64,
    pub(crate) replica: u64,
    pub(crate) index: u64,
}

/// A vote. Own struct: openraft's changes its layout between releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    pub(crate) replica: u64,
    pub(crate) committed: bool,
}

/// Who is in the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    /// The log entry that set it; `None` for the empty group.
    pub(crate) log_id: Option<LogIdRecord>,
    /// Sets of voters: one, or two while the group changes.
    pub(crate) voters: Vec<Vec<u64>>,
    /// Every replica with its address, learners included.
    pub(crate) replicas: Vec<(u64, String)>,
}

/// What a log entry carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PayloadRecord {
    Blank,
    /// A [`CommandRecord`], encoded.
    Command(Bytes),
    Membership(MembershipRecord),
}

/// A log entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryRecord {
    pub(crate) log_id: LogIdRecord,
    pub(crate) payload: PayloadRecord,
}

#[cfg(test)]
mod tests;
