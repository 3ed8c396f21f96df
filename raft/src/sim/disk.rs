//! A disk in memory that loses what was not synced when the power is cut.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::log::LogBackend;

#[derive(Clone, Debug, Default)]
struct Image {
    entries: BTreeMap<u64, Vec<u8>>,
    named: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Write {
    Append(Vec<(u64, Vec<u8>)>),
    Truncate(u64),
    Purge(u64),
    Put(String, Vec<u8>),
}

impl Image {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Append(entries) => self.entries.extend(entries.iter().cloned()),
            Write::Truncate(from) => drop(self.entries.split_off(from)),
            Write::Purge(upto) => self.entries = self.entries.split_off(&(upto + 1)),
            Write::Put(name, value) => drop(self.named.insert(name.clone(), value.clone())),
        }
    }
}

#[derive(Debug, Default)]
struct Platter {
    /// Survives everything.
    durable: Image,
    /// What is read.
    current: Image,
    /// In `current`, not in `durable`.
    unsynced: Vec<Write>,
    /// Counts power cuts; a handle of an earlier time is dead.
    epoch: u64,
    /// Whether syncs do nothing: a known bug.
    lies: bool,
}

/// The disk of one machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    platter: Arc<Mutex<Platter>>,
}

impl Disk {
    pub(crate) fn new(lies: bool) -> Self {
        let disk = Self::default();
        disk.lock().lies = lies;
        disk
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle that dies with the next power cut.
    pub(crate) fn handle(&self) -> DiskHandle {
        DiskHandle { epoch: self.lock().epoch, disk: self.clone() }
    }

    /// Cuts the power: of the writes that were not synced, only the first `survive(n)` of `n` are
    /// there afterwards.
    pub(crate) fn cut_power(&self, survive: impl FnOnce(usize) -> usize) {
        let mut platter = self.lock();
        let kept = survive(platter.unsynced.len());
        let writes: Vec<_> = platter.unsynced.drain(..).take(kept).collect();
        for write in &writes {
            platter.durable.apply(write);
        }
        platter.current = platter.durable.clone();
        platter.epoch += 1;
    }
}

/// What a running replica holds of its disk.
#[derive(Clone, Debug)]
pub(crate) struct DiskHandle {
    disk: Disk,
    epoch: u64,
}

impl DiskHandle {
    fn platter(&self) -> io::Result<std::sync::MutexGuard<'_, Platter>> {
        let platter = self.disk.lock();
        if platter.epoch == self.epoch { Ok(platter) } else { Err(io::Error::other("power was cut")) }
    }

    fn write(&self, write: Write) -> io::Result<()> {
        let mut platter = self.platter()?;
        platter.current.apply(&write);
        platter.unsynced.push(write);
        Ok(())
    }
}

impl LogBackend for DiskHandle {
    fn append(&self, entries: &[(u64, Vec<u8>)]) -> io::Result<()> {
        self.write(Write::Append(entries.to_vec()))
    }

    fn range(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let platter = self.platter()?;
        let mut bytes = 0;
        let mut found = Vec::new();
        for (index, value) in platter.current.entries.range(from..to) {
            if bytes >= bytes_max && !found.is_empty() {
                break;
            }
            bytes += value.len();
            found.push((*index, value.clone()));
        }
        Ok(found)
    }

    fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        Ok(self.platter()?.current.entries.last_key_value().map(|(index, value)| (*index, value.clone())))
    }

    fn truncate(&self, from: u64) -> io::Result<()> {
        self.write(Write::Truncate(from))
    }

    fn purge(&self, upto: u64) -> io::Result<()> {
        self.write(Write::Purge(upto))
    }

    fn put(&self, name: &str, value: &[u8]) -> io::Result<()> {
        self.write(Write::Put(name.to_owned(), value.to_vec()))
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.platter()?.current.named.get(name).cloned())
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.platter()?;
        if !platter.lies {
            platter.durable = platter.current.clone();
            platter.unsynced.clear();
        }
        Ok(())
    }
}
