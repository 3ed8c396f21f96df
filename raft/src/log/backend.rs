//! The seam to the disk.

use std::fmt::Debug;
use std::io;

use crate::watermark::Reached;

/// A place that keeps numbered entries and a few named values. Writes are readable at once; they
/// are durable, in the order in which they were made, when [`LogBackend::sync`] returns.
pub(crate) trait LogBackend: Debug + Send + Sync + 'static {
    /// Adds entries with consecutive indexes, all or none of them.
    fn append(&self, entries: &[(u64, Vec<u8>)]) -> io::Result<()>;
    /// The entries from `from` up to but without `to`, in order; stops early, but never before the
    /// first, when they exceed `bytes_max`.
    fn range(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>>;
    /// The entry with the highest index.
    fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>>;
    /// Removes all entries from this index on.
    fn truncate(&self, from: u64) -> io::Result<()>;
    /// Removes all entries up to and with this index.
    fn purge(&self, upto: u64) -> io::Result<()>;
    /// Sets a named value.
    fn put(&self, name: &str, value: &[u8]) -> io::Result<()>;
    /// Sets a named value whatever a crash makes of it: it may leave an older one, whether synced or not, and
    /// a newer one than the entries that are left.
    fn hint(&self, name: &str, value: &[u8]) -> io::Result<()>;
    /// A named value.
    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Makes everything durable that was written before the call.
    fn sync(&self) -> io::Result<()>;
    /// How far it was durable once, as it is known apart from the log itself: one that ends before
    /// has lost its end.
    fn reached(&self) -> Reached;
}
