//! Snapshots: plain files, durable before anyone relies on them.
//!
//! A file is `magic | frames | xxh3-64 of all before`, a frame is `length (4 bytes, little endian) |
//! record`. The first record is the header, each further one a resource, ordered by key. A file is
//! written under a temporary name, synced, renamed, and its directory synced; only then may the log
//! before it be purged.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Resource;
use serde::{Deserialize, Serialize};
use store::{Revision, State};
use xxhash_rust::xxh3::Xxh3;

use crate::codec::{self, CodecError};
use crate::log::invalid;
use crate::paced::{Disk, Paced};
use crate::record::{LogIdRecord, MembershipRecord, ResourceRecord};
use crate::seal::Keyring;
use crate::types::{SnapshotMeta, log_id, log_id_record, membership, membership_record};

const MAGIC: &[u8; 8] = b"kumasnap";
const SUFFIX: &str = "snapshot";
const TEMPORARY: &str = "tmp";

/// Fewer resources are not worth a thread.
const SHARE_MIN: usize = 1000;

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    last: Option<LogIdRecord>,
    membership: MembershipRecord,
    id: String,
    revision: u64,
    resources: u64,
}

/// An open snapshot file. It stays readable when a newer snapshot replaces it.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    file: Arc<File>,
}

impl SnapshotFile {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Arc::new(File::open(path)?) })
    }

    /// Size in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// At most `bytes_max` bytes from `offset` on; empty at the end.
    pub(crate) fn read_chunk(&self, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.len()?.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.min(bytes_max)];
        self.file.read_exact_at(&mut chunk, offset)?;
        Ok(chunk)
    }

    /// Removes the file: it was not received whole.
    pub(crate) fn discard(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "half a snapshot is left until the next start");
        }
    }

    /// Writes a received chunk.
    pub(crate) fn write_chunk(&self, offset: u64, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all_at(chunk, offset)
    }
}

/// A snapshot in memory.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub(crate) meta: SnapshotMeta,
    pub(crate) state: State,
}

/// The directory of snapshots: the newest, and what is being written.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotDir {
    dir: PathBuf,
}

impl SnapshotDir {
    /// Opens or creates the directory and removes what was left half-written.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == TEMPORARY) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(Self { dir })
    }

    /// The newest snapshot file.
    pub(crate) fn newest(&self) -> io::Result<Option<SnapshotFile>> {
        let Some(path) = self.files()?.pop() else { return Ok(None) };
        SnapshotFile::open(&path).map(Some)
    }

    /// Complete files, oldest first: names begin with the zero-padded log index.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == SUFFIX) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// An empty file to receive a snapshot into.
    pub(crate) fn receive(&self) -> io::Result<SnapshotFile> {
        let path = self.dir.join(format!("{:016x}.{TEMPORARY}", rand::random::<u64>()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(SnapshotFile { path, file: Arc::new(file) })
    }

    /// Writes a snapshot; when it returns, the file is durable and older ones are gone.
    /// It is written slowly: the log shares the disk, and replicas the processors.
    pub(crate) fn write(&self, meta: &SnapshotMeta, state: &State, keys: &Keyring) -> io::Result<SnapshotFile> {
        let temporary = self.receive()?;
        write_paced(&*temporary.file, meta, state, keys)?;
        self.keep(temporary, meta)
    }

    /// Makes a received file, which [`read`] has checked, the newest snapshot.
    pub(crate) fn keep(&self, received: SnapshotFile, meta: &SnapshotMeta) -> io::Result<SnapshotFile> {
        let received = if received.path.parent() == Some(&self.dir) { received } else { self.copy(&received)? };
        received.file.sync_all()?;
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let path = self.dir.join(format!("{index:020}-{}.{SUFFIX}", meta.snapshot_id));
        std::fs::rename(&received.path, &path)?;
        sync_dir(&self.dir)?;
        for old in self.files()?.into_iter().filter(|old| *old < path) {
            std::fs::remove_file(old)?;
        }
        Ok(SnapshotFile { path, file: received.file })
    }

    fn copy(&self, from: &SnapshotFile) -> io::Result<SnapshotFile> {
        let to = self.receive()?;
        let mut offset = 0;
        loop {
            let chunk = from.read_chunk(offset, 1 << 20)?;
            if chunk.is_empty() {
                return Ok(to);
            }
            to.write_chunk(offset, &chunk)?;
            offset += chunk.len() as u64;
        }
    }
}

/// Writes a snapshot to any place, all of it or nothing.
pub(crate) fn write_file(path: &Path, meta: &SnapshotMeta, state: &State, keys: &Keyring) -> io::Result<()> {
    let temporary = path.with_extension(TEMPORARY);
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    write_contents(&file, meta, state, keys)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_dir(dir),
        _ => Ok(()),
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Hashes what it passes on.
struct Hashing<W> {
    inner: W,
    hash: Xxh3,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn write_paced(disk: impl Disk, meta: &SnapshotMeta, state: &State, keys: &Keyring) -> io::Result<()> {
    write_contents(Paced::new(disk), meta, state, keys)
}

fn write_contents(to: impl Write, meta: &SnapshotMeta, state: &State, keys: &Keyring) -> io::Result<()> {
    let mut out = Hashing { inner: BufWriter::with_capacity(1 << 18, to), hash: Xxh3::new() };
    out.write_all(MAGIC)?;
    let header = Header {
        last: meta.last_log_id.as_ref().map(log_id_record),
        membership: membership_record(&meta.last_membership),
        id: meta.snapshot_id.clone(),
        revision: state.revision().0,
        resources: state.len() as u64,
    };
    write_frame(&mut out, &header)?;
    for resource in state.iter() {
        write_frame(&mut out, &ResourceRecord::of(resource, keys).map_err(invalid)?)?;
    }
    let digest = out.hash.digest().to_le_bytes();
    out.inner.write_all(&digest)?;
    out.inner.flush()
}

fn write_frame<T: Serialize>(out: &mut impl Write, value: &T) -> io::Result<()> {
    let record = codec::encode(value).map_err(invalid)?;
    let length = u32::try_from(record.len()).map_err(|_| invalid(CodecError::TooLarge))?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&record)
}

/// Reads and checks a snapshot file, on so many threads.
///
/// # Errors
/// A [`CodecError`] as [`io::ErrorKind::InvalidData`], or the disk's.
pub(crate) fn read_on(file: &SnapshotFile, keys: &Keyring, threads: usize) -> io::Result<Contents> {
    let length = usize::try_from(file.len()?).map_err(|_| invalid(CodecError::TooLarge))?;
    let bytes = file.read_chunk(0, length)?;
    parse(&bytes, keys, threads).map_err(|error| {
        let error = match error {
            CodecError::Corrupted(what) => CodecError::Corrupted(format!("{}: {what}", file.path.display())),
            error => error,
        };
        invalid(error)
    })
}

fn parse(bytes: &[u8], keys: &Keyring, threads: usize) -> Result<Contents, CodecError> {
    let short = || CodecError::Corrupted("snapshot is cut off".to_owned());
    let (bytes, digest) = bytes.split_last_chunk::<8>().ok_or_else(short)?;
    let mut frames = bytes.strip_prefix(MAGIC).ok_or_else(|| CodecError::Corrupted("no snapshot".to_owned()))?;
    let mut next = || -> Result<Option<&[u8]>, CodecError> {
        if frames.is_empty() {
            return Ok(None);
        }
        let (length, rest) = frames.split_first_chunk::<4>().ok_or_else(short)?;
        let (frame, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
        frames = rest;
        Ok(Some(frame))
    };
    // The header first: a newer version's file is not called corrupted.
    let header: Header = codec::decode(next()?.ok_or_else(short)?)?;
    if xxhash_rust::xxh3::xxh3_64(bytes) != u64::from_le_bytes(*digest) {
        return Err(CodecError::Corrupted("checksum of the snapshot does not match".to_owned()));
    }
    let mut records = Vec::with_capacity(usize::try_from(header.resources).unwrap_or(0).min(1 << 20));
    while let Some(frame) = next()? {
        records.push(frame);
    }
    let resources = resources(&records, keys, threads)?;
    if resources.len() as u64 != header.resources {
        return Err(CodecError::Corrupted("resources are missing".to_owned()));
    }
    Ok(Contents {
        meta: SnapshotMeta {
            last_log_id: header.last.map(log_id),
            last_membership: membership(&header.membership),
            snapshot_id: header.id,
        },
        state: State::restore(Revision(header.revision), resources),
    })
}

/// [`read_on`] one thread: others want the rest of the processors.
///
/// # Errors
/// See [`read_on`].
pub(crate) fn read(file: &SnapshotFile, keys: &Keyring) -> io::Result<Contents> {
    read_on(file, keys, 1)
}

/// Decodes resources: most of the time that a restart takes.
fn resources(records: &[&[u8]], keys: &Keyring, threads: usize) -> Result<Vec<Resource>, CodecError> {
    let decode = |records: &[&[u8]]| -> Result<Vec<Resource>, CodecError> {
        records.iter().map(|record| codec::decode::<ResourceRecord>(record)?.resource(keys)).collect()
    };
    let share = records.len().div_ceil(threads).max(SHARE_MIN);
    if share >= records.len() {
        return decode(records);
    }
    std::thread::scope(|scope| {
        let shares: Vec<_> = records.chunks(share).map(|records| scope.spawn(move || decode(records))).collect();
        let mut all = Vec::with_capacity(records.len());
        for share in shares {
            let decoded = share.join().map_err(|_| CodecError::Corrupted("a decoder panicked".to_owned()))?;
            all.extend(decoded?);
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{Key, Labels, Spec, Timestamp, registry};
    use store::Txn;

    use super::*;
    use crate::paced::tests::SlowDisk;

    fn contents(count: u64) -> Contents {
        let mut state = State::new();
        for n in 0..count {
            let key = Key::new(registry::SECRET, "default", &format!("s{n}"));
            let spec = Spec::of(serde_json::json!({"data": "aHVzaA=="})).unwrap();
            state.apply(&Txn::new().put(key, Labels::new(), spec), Timestamp::UNIX_EPOCH, 1).unwrap();
        }
        let last_log_id = Some(log_id(LogIdRecord { term: 1, replica: 2, index: count }));
        Contents {
            meta: SnapshotMeta { last_log_id, last_membership: Default::default(), snapshot_id: "1-2".to_owned() },
            state,
        }
    }

    fn same(a: &Contents, b: &Contents) {
        assert_eq!(a.meta, b.meta);
        assert_eq!(a.state.revision(), b.state.revision());
        assert!(a.state.iter().eq(b.state.iter()));
    }

    #[test]
    fn a_large_snapshot_leaves_the_disk_to_others_in_between() {
        let Contents { meta, state } = contents(9000);
        let mut disk = SlowDisk::new(Duration::from_millis(20));
        write_paced(&mut disk, &meta, &state, &Keyring::generate()).unwrap();
        assert!(disk.rests.len() >= 2, "{:?}", disk.rests);
        assert!(disk.most_unsynced < 1 << 20, "{}", disk.most_unsynced);
    }

    #[test]
    fn a_snapshot_comes_back_without_its_secrets_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keyring::generate();
        let snapshots = SnapshotDir::open(dir.path().join("s")).unwrap();
        let written = contents(20);
        let file = snapshots.write(&written.meta, &written.state, &keys).unwrap();
        same(&read(&snapshots.newest().unwrap().unwrap(), &keys).unwrap(), &written);
        let bytes = file.read_chunk(0, usize::MAX).unwrap();
        assert!(!bytes.windows(8).any(|w| w == b"aHVzaA=="));
    }

    #[test]
    fn many_resources_keep_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keyring::generate();
        let snapshots = SnapshotDir::open(dir.path().to_owned()).unwrap();
        let written = contents(3 * SHARE_MIN as u64 + 1);
        let file = snapshots.write(&written.meta, &written.state, &keys).unwrap();
        same(&read(&file, &keys).unwrap(), &written);
        same(&read_on(&file, &keys, 2).unwrap(), &written);
    }

    #[test]
    fn a_newer_snapshot_replaces_the_older_which_stays_readable() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keyring::generate();
        let snapshots = SnapshotDir::open(dir.path().to_owned()).unwrap();
        let (old, new) = (contents(3), contents(12));
        let file = snapshots.write(&old.meta, &old.state, &keys).unwrap();
        snapshots.write(&new.meta, &new.state, &keys).unwrap();
        same(&read(&snapshots.newest().unwrap().unwrap(), &keys).unwrap(), &new);
        same(&read(&file, &keys).unwrap(), &old);
        assert_eq!(snapshots.files().unwrap().len(), 1);
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let keys = Keyring::generate();
        let dir = tempfile::tempdir().unwrap();
        let snapshots = SnapshotDir::open(dir.path().to_owned()).unwrap();
        let written = contents(2);
        let bytes = snapshots.write(&written.meta, &written.state, &keys).unwrap().read_chunk(0, usize::MAX).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert!(parse(&bad, &keys, 1).is_err(), "byte {at}");
            assert!(parse(&bytes[..at], &keys, 1).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn half_written_files_are_removed_at_open() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = SnapshotDir::open(dir.path().to_owned()).unwrap();
        snapshots.receive().unwrap();
        let snapshots = SnapshotDir::open(dir.path().to_owned()).unwrap();
        assert!(snapshots.newest().unwrap().is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
