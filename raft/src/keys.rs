//! The cluster keys of this replica: a file in its data directory, or one that the operator keeps
//! elsewhere.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::codec::CodecError;
use crate::log::invalid;
use crate::seal::Keyring;
use crate::snapshot::sync_dir;

/// The ring in use, which a rotation replaces. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    ring: Arc<ArcSwap<Keyring>>,
    path: Arc<PathBuf>,
}

impl Keys {
    /// Reads the key file; `None` when there is none.
    pub(crate) fn load(path: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let ring = parse(&text).ok_or_else(|| invalid(CodecError::Corrupted("no list of cluster keys".to_owned())))?;
        Ok(Some(Self::with(path, ring)))
    }

    /// Writes a key file.
    pub(crate) fn create(path: &Path, ring: Keyring) -> io::Result<Self> {
        let keys = Self::with(path, ring);
        keys.save(&keys.current())?;
        Ok(keys)
    }

    fn with(path: &Path, ring: Keyring) -> Self {
        Self { ring: Arc::new(ArcSwap::from_pointee(ring)), path: Arc::new(path.to_owned()) }
    }

    /// The ring.
    pub(crate) fn current(&self) -> Arc<Keyring> {
        self.ring.load_full()
    }

    /// Replaces the ring, on disk first.
    pub(crate) fn replace(&self, ring: Keyring) -> io::Result<()> {
        self.save(&ring)?;
        self.ring.store(Arc::new(ring));
        Ok(())
    }

    fn save(&self, ring: &Keyring) -> io::Result<()> {
        let mut text = format!("active {}\n", ring.active());
        for (id, key) in ring.keys() {
            text.push_str(&format!("{id} {}\n", STANDARD.encode(key)));
        }
        write_private(&self.path, text.as_bytes())
    }
}

/// Writes a file that only its owner may read, all of it or nothing.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    // Of its own name: another file of the directory may be written at the same time.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn parse(text: &str) -> Option<Keyring> {
    let mut ring = Keyring::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match line.trim().split_once(' ')? {
            ("active", id) => ring.activate(id.parse().ok()?),
            (id, key) => ring.insert(id.parse().ok()?, STANDARD.decode(key).ok()?.try_into().ok()?),
        }
    }
    ring.is_usable().then_some(ring)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_a_reload_and_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.keys");
        assert!(Keys::load(&path).unwrap().is_none());
        let keys = Keys::create(&path, Keyring::generate()).unwrap();
        let mut ring = (*keys.current()).clone();
        let added = ring.add();
        ring.activate(added);
        keys.replace(ring.clone()).unwrap();
        assert_eq!(*Keys::load(&path).unwrap().unwrap().current(), ring);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_file_is_refused() {
        for text in ["", "1", "1 xyz", "x AAAA", "active 1"] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }
}
