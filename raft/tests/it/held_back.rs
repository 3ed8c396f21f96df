//! A replica that gets nothing from the leader, while the leader gets everything from it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use raft::{RaftStore, Settings};
use store::{Revision, Store};
use store_conformance::fixture::{config, number, number_in, put, stored};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::fixture::{Group, applied, listening};
use crate::members::free_addresses;

/// Passes on what comes to an address, as long as the gate is open.
async fn gate(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gate, is_open) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let Ok(to) = TcpStream::connect(to).await else { continue };
            let ((read, write), (read_back, write_back)) = (from.into_split(), to.into_split());
            tokio::spawn(pass(read, write_back, is_open.clone()));
            tokio::spawn(pass(read_back, write, is_open.clone()));
        }
    });
    (address, gate)
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut is_open: watch::Receiver<bool>,
) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if is_open.wait_for(|open| *open).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// Nobody is elected meanwhile, and a write waits two seconds.
fn impatient(dir: &Path) -> Settings {
    Settings { commit_timeout: Duration::from_secs(2), ..listening(dir) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_committed_and_not_here_yet_is_acknowledged() {
    let mut group = Group::of(2).await;
    let listen = free_addresses(1)[0];
    let (address, gate) = gate(listen).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        listen: Some(listen),
        advertise: Some(address.to_string()),
        join: Some(group.invitation()),
        ..impatient(dir.path())
    };
    group.replicas.push((RaftStore::open(settings).await.unwrap(), dir));
    group.until(|status| status.members.iter().filter(|m| m.voter).count() == 3).await;
    let behind = group.replicas[2].0.clone();
    let first = behind.commit(put(config("c"), number(1))).await.unwrap();
    assert_eq!(number_in(&stored(&behind, &config("c")).spec), 1, "who wrote it reads it");
    gate.send_replace(false);
    let second = behind.commit(put(config("c"), number(2))).await.expect("the leader has said that it is committed");
    assert_eq!(second.revision, Revision(first.revision.0 + 1));
    assert_eq!(number_in(&stored(&group.replicas[0].0, &config("c")).spec), 2);
    assert_eq!(number_in(&stored(&behind, &config("c")).spec), 1, "it does not have it");
    gate.send_replace(true);
    applied(&behind, second.revision).await;
    assert_eq!(number_in(&stored(&behind, &config("c")).spec), 2);
}
