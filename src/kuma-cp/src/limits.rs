//! Limits of the operating system: each connected proxy holds a file descriptor.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Below this many descriptors an operator should hear of it.
const DESCRIPTORS_MIN: u64 = 4096;

/// Raises the soft limit of file descriptors to the hard one.
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match limit {
        Ok(limit) if limit < DESCRIPTORS_MIN => {
            tracing::warn!(
                limit,
                wanted = DESCRIPTORS_MIN,
                "few file descriptors: each proxy takes one, raise ulimit -n"
            );
        }
        Ok(limit) => tracing::debug!(limit, "file descriptors"),
        Err(error) => tracing::warn!(%error, "could not raise the limit of file descriptors"),
    }
}
