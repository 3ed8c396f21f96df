//! Why a replica does not open.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::CodecError;

/// Why a backup was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No leader confirmed that the state is the newest; try again.
    #[error(transparent)]
    Unconfirmed(#[from] store::ReadError),
    /// The file could not be written.
    #[error("backup could not be written: {0}")]
    Unwritten(#[from] io::Error),
}

/// Why a data directory could not be opened. Each says what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another store of this process) uses it.
    #[error("data directory {} is in use by another process", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// The operating system refuses access.
    #[error("data directory {}: cannot read or write {}: {source}", path.display(), file.display())]
    Unreadable {
        /// The data directory.
        path: PathBuf,
        /// What was accessed.
        file: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A newer version wrote it; nothing was changed.
    #[error("data directory {} is from a newer version: {detail}; run that version or restore a backup", path.display())]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// What was met.
        detail: String,
    },
    /// What is there is not what was written; nothing was changed.
    #[error(
        "data directory {} is corrupted: {detail}; move it away and join again, or restore a backup",
        path.display()
    )]
    Corrupted {
        /// The data directory.
        path: PathBuf,
        /// What was met.
        detail: String,
    },
    /// The secrets in it are sealed with a key that is not there.
    #[error("data directory {}: cluster key is lost: {detail}; put the key file back", path.display())]
    KeyLost {
        /// The data directory.
        path: PathBuf,
        /// Which key.
        detail: String,
    },
    /// The group took this replica out, for ever.
    #[error(
        "data directory {}: replica {id} was removed from its group: move the directory away, and join with an empty one",
        path.display()
    )]
    Removed {
        /// The data directory.
        path: PathBuf,
        /// The replica.
        id: u64,
    },
    /// The settings contradict each other or what is in the directory.
    #[error("raft settings: {0}")]
    Settings(String),
    /// The replica did not start.
    #[error("replica did not start: {0}")]
    Start(String),
}

impl OpenError {
    /// Sorts an I/O error by what the operator can do. `file` is what was accessed in `path`.
    pub(crate) fn of(path: &Path, file: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        if let Some(codec) = error.get_ref().and_then(|inner| inner.downcast_ref::<CodecError>()) {
            let detail = codec.to_string();
            return match codec {
                CodecError::Newer { .. } | CodecError::UnknownKind(_) => Self::Newer { path, detail },
                CodecError::MissingKey(_) => Self::KeyLost { path, detail },
                CodecError::Corrupted(what) => Self::Corrupted { path, detail: what.clone() },
                CodecError::TooLarge => Self::Corrupted { path, detail },
            };
        }
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Corrupted { path, detail: error.to_string() }
            }
            _ => Self::Unreadable { path, file: file.to_owned(), source: error },
        }
    }
}
