//! `kuma-cp restore` and `kuma-cp recover`: ways back from a disaster, offline.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::settings::StoreSettings;

/// Makes the configured data directory from a backup.
///
/// # Errors
/// When the directory is not new or in use, or the backup cannot be read.
pub(crate) async fn restore(store: &StoreSettings, backup: &Path) -> Result<()> {
    let settings = offline(store)?;
    let revision =
        raft::restore(&settings, backup).await.with_context(|| format!("could not restore {}", backup.display()))?;
    let dir = settings.data_dir.display();
    println!("restored {} into {dir}, a group of one at revision {revision}", backup.display());
    Ok(())
}

/// Makes the configured data directory a group of one.
///
/// # Errors
/// When the directory is in use or holds no replica.
pub(crate) async fn recover(store: &StoreSettings) -> Result<()> {
    let settings = offline(store)?;
    let dir = settings.data_dir.display();
    let revision = raft::recover_alone(&settings).await.with_context(|| format!("could not recover {dir}"))?;
    println!("{dir} is a group of one at revision {revision}: start it, and join new replicas with empty directories");
    Ok(())
}

/// What the offline commands need of the store's settings.
fn offline(store: &StoreSettings) -> Result<raft::Settings> {
    match store {
        StoreSettings::Memory => bail!("the memory store keeps nothing (store.type)"),
        StoreSettings::Raft { data_dir, key_file, .. } => {
            Ok(raft::Settings { key_file: key_file.clone(), ..raft::Settings::new(data_dir) })
        }
    }
}
