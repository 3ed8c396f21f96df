//! The log as the release before kept it, in sled beside the named values: moved once, at the start.

use std::io;

use sled::{Db, IVec};

use super::hard_state::io_error;

const TREE: &str = "log";

/// Gives all entries of that log to `take`, in order and in portions; whether there is such a log. It is given
/// from its beginning as long as it was not forgotten.
///
/// # Errors
/// sled's, as [`io::Error`], and those of `take`.
pub(super) fn move_to(db: &Db, mut take: impl FnMut(Vec<(u64, Vec<u8>)>) -> io::Result<()>) -> io::Result<bool> {
    const PORTION: usize = 256;
    if !db.tree_names().iter().any(|name| name.as_ref() == TREE.as_bytes()) {
        return Ok(false);
    }
    let tree = db.open_tree(TREE).map_err(io_error)?;
    let mut entries: Vec<(u64, Vec<u8>)> = Vec::new();
    for part in tree.iter() {
        let (index, part) = indexed(part.map_err(io_error)?)?;
        match entries.last_mut() {
            Some((last, value)) if *last == index => value.extend_from_slice(&part),
            _ => {
                if entries.len() == PORTION {
                    take(std::mem::take(&mut entries))?;
                }
                entries.push((index, part.to_vec()));
            }
        }
    }
    if !entries.is_empty() {
        take(entries)?;
    }
    Ok(true)
}

/// Forgets that log, which was moved.
pub(super) fn forget(db: &Db) -> io::Result<()> {
    db.drop_tree(TREE).map_err(io_error)?;
    Ok(())
}

/// A key is `index (8 bytes, big endian) | part (2 bytes, big endian)`.
fn indexed((key, part): (IVec, IVec)) -> io::Result<(u64, IVec)> {
    let index = key.first_chunk::<8>().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "short log key"))?;
    Ok((u64::from_be_bytes(*index), part))
}
