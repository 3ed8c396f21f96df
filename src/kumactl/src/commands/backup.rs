//! `kumactl backup`: everything in one file, and back.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::client::Client;

/// Takes a backup. The file appears when it is whole, never before.
///
/// # Errors
/// When the control plane refuses or stops midway, or the file is there or cannot be written.
pub(crate) async fn create(path: &Path, client: &Client) -> Result<()> {
    if path.exists() {
        bail!("{} exists already", path.display());
    }
    let part = PathBuf::from(format!("{}.part", path.display()));
    let written = write(&part, client).await;
    let done = match written {
        Ok(len) => tokio::fs::rename(&part, path).await.map(|()| len).context("could not name the backup"),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // What went wrong before matters more than a file that is left.
        tokio::fs::remove_file(&part).await.ok();
    }
    println!("backup of {} bytes in {}", done?, path.display());
    Ok(())
}

/// Restores a backup.
///
/// # Errors
/// When the file cannot be read, or the control plane refuses; nothing is changed then.
pub(crate) async fn restore(path: &Path, client: &Client) -> Result<()> {
    let backup = tokio::fs::read(path).await.with_context(|| format!("could not read {}", path.display()))?;
    let answer = client.upload("/raft/restore", backup).await?;
    let restored: Value = serde_json::from_str(&answer).context("the answer is not JSON")?;
    let [revision, created, updated, deleted] =
        ["revision", "created", "updated", "deleted"].map(|field| restored.get(field).and_then(Value::as_u64));
    let count = |count: Option<u64>| count.unwrap_or_default();
    println!(
        "restored {} at revision {}: {} created, {} updated, {} deleted",
        path.display(),
        count(revision),
        count(created),
        count(updated),
        count(deleted)
    );
    Ok(())
}

async fn write(part: &Path, client: &Client) -> Result<u64> {
    let mut response = client.download("/raft/backup").await?;
    let failed = || format!("could not write {}", part.display());
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part);
    let mut file = tokio::fs::File::from_std(file.with_context(failed)?);
    let mut len = 0;
    while let Some(chunk) = response.chunk().await.context("the control plane stopped midway")? {
        file.write_all(&chunk).await.with_context(failed)?;
        len += chunk.len() as u64;
    }
    file.sync_all().await.with_context(failed)?;
    Ok(len)
}
