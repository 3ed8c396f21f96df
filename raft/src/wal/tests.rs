//! The log beside a model of it, through crashes, and what it says of damage.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::*;

fn value(index: u64, bytes: usize) -> (u64, Vec<u8>) {
    (index, (0..bytes).map(|i| (i as u64 * 31 + index) as u8).collect())
}

fn indexes(log: &Wal) -> Vec<u64> {
    log.range(0, u64::MAX, usize::MAX).unwrap().into_iter().map(|(index, _)| index).collect()
}

/// The files of the log in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("entries")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// A log of entries `1..=count` of 100 bytes in files of about a thousand.
fn filled(count: u64) -> (TempDir, Wal) {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::with_segments(dir.path(), 1000).unwrap();
    for index in 1..=count {
        log.append(&[value(index, 100)]).unwrap();
    }
    log.sync().unwrap();
    (dir, log)
}

fn reopened(dir: &TempDir, log: Wal) -> io::Result<Wal> {
    drop(log);
    Wal::with_segments(dir.path(), 1000)
}

#[test]
fn large_entries_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<_> = (1..80).map(|i| value(i, (i as usize % 40) * 10_000 + 1)).collect();
    {
        let log = Wal::open(dir.path()).unwrap();
        for chunk in entries.chunks(7) {
            log.append(chunk).unwrap();
            log.sync().unwrap();
        }
        log.purge(10).unwrap();
        log.truncate(70).unwrap();
        log.append(&entries[69..]).unwrap();
    }
    let log = Wal::open(dir.path()).unwrap();
    log.purge(10).unwrap();
    assert_eq!(log.range(1, 80, usize::MAX).unwrap(), entries[10..]);
    assert_eq!(log.last().unwrap().as_ref(), entries.last());
}

#[test]
fn a_bounded_range_has_at_least_one_entry() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open(dir.path()).unwrap();
    log.append(&[value(5, 20_000), value(6, 20_000), value(7, 10)]).unwrap();
    assert_eq!(log.range(5, 8, 1).unwrap(), [value(5, 20_000)]);
    assert_eq!(log.range(5, 8, 20_001).unwrap().len(), 2);
    assert!(log.range(8, 9, 1).unwrap().is_empty());
}

#[test]
fn an_entry_that_is_there_already_is_refused() {
    let (_dir, log) = filled(3);
    assert_eq!(log.append(&[value(3, 1)]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(indexes(&log), [1, 2, 3]);
}

#[test]
fn files_that_are_covered_are_deleted_and_the_one_that_grows_stays() {
    let (dir, log) = filled(50);
    let before = files(dir.path()).len();
    log.purge(25).unwrap();
    assert_eq!(indexes(&log).first(), Some(&26));
    assert!(files(dir.path()).len() < before - 1);
    log.purge(50).unwrap();
    assert_eq!(files(dir.path()).len(), 1);
    assert!(log.last().unwrap().is_none());
    log.append(&[value(51, 7)]).unwrap();
    assert_eq!(log.last().unwrap(), Some(value(51, 7)));
    // As after a snapshot of another replica: the log goes on far behind its end.
    log.purge(90).unwrap();
    assert!(files(dir.path()).is_empty());
    log.append(&[value(91, 7)]).unwrap();
    let log = reopened(&dir, log).unwrap();
    assert_eq!(indexes(&log), [91]);
}

#[test]
fn named_values_survive_a_reopen() {
    let (dir, log) = filled(0);
    log.put("vote", b"1").unwrap();
    log.hint("mark", b"2").unwrap();
    log.sync().unwrap();
    let log = reopened(&dir, log).unwrap();
    assert_eq!(log.get("vote").unwrap(), Some(b"1".to_vec()));
    assert_eq!(log.get("mark").unwrap(), Some(b"2".to_vec()));
}

/// A part of an append that a crash left must not come to stand behind a new record, and count again.
#[test]
fn what_a_crash_left_behind_the_end_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open(dir.path()).unwrap();
    log.append(&[value(1, 100)]).unwrap();
    log.sync().unwrap();
    log.append(&[value(2, 100), value(3, 100)]).unwrap();
    drop(log);
    // Only the second page of what was not synced reached the disk.
    let path = &files(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[16 + 112..16 + 2 * 112].fill(0);
    fs::write(path, bytes).unwrap();
    let log = Wal::open(dir.path()).unwrap();
    assert_eq!(indexes(&log), [1]);
    log.append(&[value(2, 100)]).unwrap();
    drop(log);
    assert_eq!(indexes(&Wal::open(dir.path()).unwrap()), [1, 2]);
}

#[test]
fn a_damaged_record_ends_the_log_and_the_watermark_tells() {
    let (dir, log) = filled(5);
    drop(log);
    let path = &files(dir.path())[0];
    let whole = fs::read(path).unwrap();
    for at in 16..16 + 5 * 112 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(path, &bytes).unwrap();
        let log = Wal::with_segments(dir.path(), 1000).unwrap();
        assert_eq!(log.last().unwrap().map_or(0, |(last, _)| last), (at as u64 - 16) / 112, "byte {at}");
        assert_eq!(log.reached().last, 5);
        drop(log);
        assert_eq!(fs::read(path).unwrap(), bytes, "it is left as it is");
    }
}

#[test]
fn a_damaged_head_and_a_newer_one_are_refused() {
    let refused = |damage: &dyn Fn(&[PathBuf])| {
        let (dir, log) = filled(50);
        drop(log);
        damage(&files(dir.path()));
        Wal::with_segments(dir.path(), 1000).unwrap_err().to_string()
    };
    let changed = |path: &Path, at: usize, to: u8| {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] = to;
        fs::write(path, bytes).unwrap();
    };
    let said = refused(&|files| changed(&files[1], 0, b'X'));
    assert!(said.contains("does not begin like a log file"), "{said}");
    let said = refused(&|files| changed(&files[1], 8, 99));
    assert!(said.contains("another entry than its name says"), "{said}");
    let said = refused(&|files| changed(&files[1], 7, 2));
    assert!(said.contains("newer version"), "{said}");
}

/// The log store takes a range that does not begin where it was asked to for a loss.
#[test]
fn a_file_that_is_missing_or_ends_early_leaves_a_hole() {
    let hole = |damage: &dyn Fn(&[PathBuf])| {
        let (dir, log) = filled(50);
        drop(log);
        damage(&files(dir.path()));
        let log = Wal::with_segments(dir.path(), 1000).unwrap();
        let held = indexes(&log);
        let missing = (1..=50).find(|index| !held.contains(index)).unwrap();
        assert_ne!(log.range(missing, 51, 1).unwrap()[0].0, missing);
        assert_eq!(held.last(), Some(&50));
    };
    hole(&|files| fs::remove_file(&files[1]).unwrap());
    hole(&|files| {
        let mut bytes = fs::read(&files[1]).unwrap();
        bytes[30] ^= 0xff;
        fs::write(&files[1], bytes).unwrap();
    });
}

#[test]
fn what_is_damaged_while_it_is_open_is_not_read() {
    let (dir, log) = filled(5);
    let path = &files(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[16 + 2 * 112 + 50] ^= 1;
    fs::write(path, bytes).unwrap();
    assert_eq!(log.range(3, 4, 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(log.range(4, 6, usize::MAX).unwrap().len(), 2);
}

#[test]
fn the_log_of_the_release_before_is_moved_even_when_that_was_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<_> = (7..700).map(|index| value(index, (index as usize % 3) * 5000 + 1)).collect();
    {
        let db = sled::open(dir.path()).unwrap();
        let tree = db.open_tree("log").unwrap();
        for (index, value) in &entries {
            for (part, bytes) in value.chunks(4096).enumerate() {
                let key = [&index.to_be_bytes()[..], &(part as u16).to_be_bytes()].concat();
                tree.insert(key, bytes).unwrap();
            }
        }
        db.open_tree("hard").unwrap().insert("vote", b"1").unwrap();
    }
    // Of a move that was cut short.
    fs::create_dir(dir.path().join("entries")).unwrap();
    let mut cut_short = Segment::create(&dir.path().join("entries"), 7).unwrap();
    cut_short.append([b"half".as_slice()].into_iter(), &mut Vec::new()).unwrap();
    for _ in 0..2 {
        let log = Wal::open(dir.path()).unwrap();
        assert_eq!(log.range(0, u64::MAX, usize::MAX).unwrap(), entries);
        assert_eq!(log.get("vote").unwrap(), Some(b"1".to_vec()));
        assert!(log.hard.db().tree_names().iter().all(|name| name.as_ref() != b"log"));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Truncate(u64),
    Purge(u64),
    Sync,
    Reopen,
    /// The power is cut: of what was not synced sectors are lost at random.
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(1usize..400, 1..6).prop_map(Step::Append),
        1 => (0u64..12).prop_map(Step::Truncate),
        1 => (0u64..30).prop_map(Step::Purge),
        3 => Just(Step::Sync),
        1 => Just(Step::Reopen),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_holds_what_a_map_holds_and_loses_nothing_synced(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Wal::with_segments(dir.path(), 1000).unwrap();
        let (mut model, mut synced, mut next, mut purged) = (BTreeMap::new(), 0, 1, 0);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(sizes) => {
                    let count = sizes.len() as u64;
                    let salted = |(n, bytes): (usize, usize)| {
                        let (index, mut value) = value(next + n as u64, bytes);
                        value[0] = number as u8;
                        (index, value)
                    };
                    let entries: Vec<_> = sizes.into_iter().enumerate().map(salted).collect();
                    log.append(&entries).unwrap();
                    model.extend(entries);
                    next += count;
                }
                Step::Truncate(back) => {
                    let from = next.saturating_sub(back).max(purged + 1);
                    log.truncate(from).unwrap();
                    // As the log store does before it goes on.
                    log.sync().unwrap();
                    model.split_off(&from);
                    (next, synced) = (from, from - 1);
                }
                Step::Purge(on) => {
                    let upto = purged + on;
                    log.purge(upto).unwrap();
                    model = model.split_off(&(upto + 1));
                    (next, purged, synced) = (next.max(upto + 1), upto, synced.max(upto));
                }
                Step::Sync => {
                    log.sync().unwrap();
                    synced = next - 1;
                }
                Step::Reopen => {
                    drop(log);
                    log = Wal::with_segments(dir.path(), 1000).unwrap();
                    log.purge(purged).unwrap();
                }
                Step::Crash(seed) => {
                    drop(log);
                    tear(dir.path(), synced, seed);
                    log = Wal::with_segments(dir.path(), 1000).unwrap();
                    log.purge(purged).unwrap();
                    let last = log.last().unwrap().map_or(purged, |(last, _)| last);
                    prop_assert!(last >= synced && log.reached().last <= last.max(purged));
                    model.split_off(&(last + 1));
                    next = last + 1;
                }
            }
            let held: BTreeMap<_, _> = log.range(0, u64::MAX, usize::MAX).unwrap().into_iter().collect();
            prop_assert_eq!(&held, &model);
        }
    }
}

/// Loses sectors of the newest file at random, but none with what was synced. They are small here, so that
/// records end up between lost ones.
fn tear(dir: &Path, synced: u64, seed: u64) {
    const SECTOR: usize = 64;
    let Some(path) = files(dir).pop() else { return };
    let segment = Segment::open(&path).unwrap();
    let kept = if segment.first() > synced { 0 } else { segment.end_of(synced) } as usize;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut bytes = fs::read(&path).unwrap();
    let mut from = kept;
    while from < segment.used() as usize {
        let end = (from / SECTOR + 1) * SECTOR;
        if rng.random() {
            bytes[from..end].fill(0);
        }
        from = end;
    }
    fs::write(path, bytes).unwrap();
}
