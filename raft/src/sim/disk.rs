//! A disk in memory that fails as disks do: it loses or tears what was not synced when the power is
//! cut, is full, is slow, and gives back other bytes than it was given.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use crate::codec;
use crate::log::{LogBackend, VOTE};
use crate::record::{LogIdRecord, VoteRecord};
use crate::watermark::Reached;

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

    /// What is left of a write that the power cut hit. The backend promises that an append and a
    /// named value are there as a whole or not at all, but removes entries in steps, in order.
    fn tear(&mut self, write: &Write, rng: &mut StdRng) {
        match write {
            Write::Append(_) | Write::Put(..) => {}
            Write::Truncate(from) => {
                let done = rng.random_range(0..=self.entries.range(from..).count());
                (0..done).for_each(|_| drop(self.entries.pop_last()));
            }
            Write::Purge(upto) => {
                let done = rng.random_range(0..=self.entries.range(..=upto).count());
                (0..done).for_each(|_| drop(self.entries.pop_first()));
            }
        }
    }

    /// The last entry that is not needed any more.
    fn purged(&self) -> Option<u64> {
        let record: LogIdRecord = codec::decode(self.named.get("purged")?).ok()?;
        Some(record.index)
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
    /// The last few hints, in `current` as well.
    hints: VecDeque<(String, Vec<u8>)>,
    /// How far it was durable once.
    reached: Reached,
    /// Counts power cuts; a handle of an earlier time is dead.
    epoch: u64,
    /// Whether syncs do nothing: a known bug.
    lies: bool,
    /// Whether nothing more can be written.
    full: bool,
    /// Whether syncs take long.
    slow: bool,
}

/// Hints among which a power cut chooses.
const HINTS_MAX: usize = 16;

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

    /// Cuts the power: of the writes that were not synced, a first part is there afterwards, and the
    /// next one may be there half.
    pub(crate) fn cut_power(&self, rng: &mut StdRng) {
        let mut platter = self.lock();
        let kept = rng.random_range(0..=platter.unsynced.len());
        let writes = std::mem::take(&mut platter.unsynced);
        for write in &writes[..kept] {
            platter.durable.apply(write);
        }
        if let Some(torn) = writes.get(kept) {
            platter.durable.tear(torn, rng);
        }
        // A hint may be older than what was synced, and newer than what was lost.
        let hints = std::mem::take(&mut platter.hints);
        if let Some((name, value)) = hints.into_iter().choose(rng) {
            platter.durable.named.insert(name, value);
        }
        platter.current = platter.durable.clone();
        platter.epoch += 1;
    }

    /// Fills it up, or makes room again.
    pub(crate) fn fill(&self, full: bool) {
        self.lock().full = full;
    }

    /// Makes it slow, or quick again.
    pub(crate) fn slow(&self, slow: bool) {
        self.lock().slow = slow;
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.lock().slow
    }

    /// Damages one record that a restart needs, or loses an entry in the middle of the log or some at
    /// its end; whether there was one. The power is off.
    pub(crate) fn corrupt(&self, rng: &mut StdRng) -> bool {
        let mut platter = self.lock();
        let purged = platter.durable.purged();
        let needed = platter.durable.entries.keys().filter(|index| purged.is_none_or(|purged| **index > purged));
        let needed: Vec<u64> = needed.copied().collect();
        if needed.len() > 2 && rng.random_range(0..4) == 0 {
            platter.durable.entries.remove(&needed[rng.random_range(1..needed.len() - 1)]);
        } else if needed.last().is_some_and(|last| *last <= platter.reached.last) && rng.random_range(0..3) == 0 {
            platter.durable.entries.split_off(&needed[rng.random_range(0..needed.len())]);
        } else {
            let named: Vec<_> = platter.durable.named.keys().cloned().collect();
            let at = rng.random_range(0..(needed.len() + named.len()).max(1));
            let record = match needed.get(at) {
                Some(index) => platter.durable.entries.get_mut(index),
                None => named.get(at - needed.len()).and_then(|name| platter.durable.named.get_mut(name)),
            };
            let Some(record) = record else { return false };
            match rng.random_range(0..3) {
                0 => record.truncate(rng.random_range(0..record.len())),
                _ => {
                    let byte = rng.random_range(0..record.len());
                    record[byte] ^= 1 << rng.random_range(0..8);
                }
            }
        }
        platter.current = platter.durable.clone();
        true
    }
}

/// What a running replica holds of its disk.
#[derive(Clone, Debug)]
pub(crate) struct DiskHandle {
    disk: Disk,
    epoch: u64,
}

impl DiskHandle {
    pub(crate) fn is_slow(&self) -> bool {
        self.disk.is_slow()
    }

    fn platter(&self) -> io::Result<std::sync::MutexGuard<'_, Platter>> {
        let platter = self.disk.lock();
        if platter.epoch == self.epoch { Ok(platter) } else { Err(io::Error::other("power was cut")) }
    }

    fn write(&self, write: Write) -> io::Result<()> {
        let mut platter = self.platter()?;
        if platter.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
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
        let mut platter = self.platter()?;
        platter.reached.last = platter.reached.last.min(from.saturating_sub(1));
        drop(platter);
        self.write(Write::Truncate(from))
    }

    fn purge(&self, upto: u64) -> io::Result<()> {
        self.write(Write::Purge(upto))
    }

    fn put(&self, name: &str, value: &[u8]) -> io::Result<()> {
        self.write(Write::Put(name.to_owned(), value.to_vec()))
    }

    fn hint(&self, name: &str, value: &[u8]) -> io::Result<()> {
        let mut platter = self.platter()?;
        platter.current.named.insert(name.to_owned(), value.to_vec());
        platter.hints.truncate(HINTS_MAX - 1);
        platter.hints.push_front((name.to_owned(), value.to_vec()));
        Ok(())
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.platter()?.current.named.get(name).cloned())
    }

    fn reached(&self) -> Reached {
        self.disk.lock().reached
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.platter()?;
        if !platter.lies {
            let writes = std::mem::take(&mut platter.unsynced);
            for write in &writes {
                platter.durable.apply(write);
            }
            let vote = platter.durable.named.get(VOTE).and_then(|vote| codec::decode::<VoteRecord>(vote).ok());
            let last = platter.durable.entries.last_key_value().map_or(0, |(last, _)| *last);
            platter.reached = Reached { last, term: vote.map_or(0, |vote| vote.term) };
        }
        Ok(())
    }
}
