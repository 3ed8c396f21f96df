//! Group commit: all transactions that are waiting become one log entry.
//!
//! openraft awaits one log flush per entry, so the number of entries, not of transactions, bounds
//! the throughput. One entry is in flight; whatever arrives meanwhile is the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::Timestamp;
use openraft::error::{ClientWriteError, RaftError};
use store::{CommitError, Txn};
use tokio::sync::{mpsc, oneshot, watch};

use crate::latency::Latency;
use crate::leadership::Contact;
use crate::types::{Command, Outcome, Raft, ReplicaId};

/// Transactions of one entry at most.
const ENTRY_TXNS_MAX: usize = 256;

/// Bytes of one entry at most, unless a single transaction is larger.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one transaction at most. An entry is sent as one message, and while a follower takes
/// it, it hears no heartbeat.
pub(crate) const TXN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Proposals that may wait; more writers wait for room.
const QUEUE_MAX: usize = 1024;

/// A transaction on its way.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// Its encoded form.
    pub(crate) bytes: Bytes,
    /// Its typed form, when it came from this process.
    pub(crate) typed: Option<Arc<Txn>>,
    /// Whom to tell.
    pub(crate) reply: oneshot::Sender<Result<Outcome, Refusal>>,
}

/// Why an entry was not, or perhaps not, committed by this replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This replica does not lead; nothing was written.
    NotLeader(Option<ReplicaId>),
    /// No majority confirmed it in time.
    Unknown,
    /// The replica stopped.
    Stopped(String),
    /// Too large.
    TooLarge(String),
}

impl Refusal {
    /// What the writer is told when nobody else can take the transaction.
    pub(crate) fn commit_error(self, waited: Duration) -> CommitError {
        match self {
            Self::NotLeader(_) => {
                CommitError::NoLeader { waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX) }
            }
            Self::Unknown => CommitError::Unknown,
            Self::Stopped(why) => CommitError::Stopped(why),
            Self::TooLarge(why) => CommitError::Refused(why),
        }
    }
}

/// Tells the time that stands in an entry.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Takes transactions to the log.
pub(crate) struct Proposer {
    pub(crate) raft: Raft,
    /// How long an entry may take.
    pub(crate) timeout: Duration,
    pub(crate) latency: Latency,
    pub(crate) clock: Clock,
    pub(crate) contact: watch::Receiver<Contact>,
}

/// The queue to the proposer. The task ends when the last sender is gone.
pub(crate) fn start(proposer: Proposer) -> mpsc::Sender<Proposal> {
    let (queue, proposals) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(run(proposer, proposals));
    queue
}

async fn run(proposer: Proposer, mut proposals: mpsc::Receiver<Proposal>) {
    let mut waiting = Vec::new();
    while !waiting.is_empty() || proposals.recv_many(&mut waiting, ENTRY_TXNS_MAX).await > 0 {
        let rest = waiting.split_off(fits(&waiting));
        let entry = std::mem::replace(&mut waiting, rest);
        let start = Instant::now();
        let (replies, result) = proposer.propose(entry).await;
        proposer.latency.record(start.elapsed());
        match result {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    // A writer that no longer listens has chosen not to know.
                    drop(reply.send(Ok(outcome)));
                }
            }
            Err(refusal) => {
                for reply in replies {
                    drop(reply.send(Err(refusal.clone())));
                }
            }
        }
    }
}

/// How many of the first proposals go into one entry.
fn fits(waiting: &[Proposal]) -> usize {
    let mut bytes = 0;
    let count = waiting
        .iter()
        .take_while(|proposal| {
            bytes += proposal.bytes.len();
            bytes <= ENTRY_BYTES_MAX
        })
        .count();
    count.max(1)
}

type Replies = Vec<oneshot::Sender<Result<Outcome, Refusal>>>;

impl Proposer {
    async fn propose(&self, entry: Vec<Proposal>) -> (Replies, Result<Vec<Outcome>, Refusal>) {
        let mut replies = Vec::with_capacity(entry.len());
        let mut txns = Vec::with_capacity(entry.len());
        let mut typed = Some(Vec::with_capacity(entry.len()));
        for proposal in entry {
            replies.push(proposal.reply);
            txns.push(proposal.bytes);
            match (&mut typed, proposal.typed) {
                (Some(typed), Some(txn)) => typed.push(txn),
                _ => typed = None,
            }
        }
        if self.contact.borrow().is_cut_off {
            return (replies, Err(Refusal::NotLeader(None)));
        }
        let command = match Command::commit((self.clock)(), txns, typed) {
            Ok(command) => command,
            Err(error) => return (replies, Err(Refusal::TooLarge(error.to_string()))),
        };
        (replies, self.write(command).await)
    }

    async fn write(&self, command: Command) -> Result<Vec<Outcome>, Refusal> {
        let mut contact = self.contact.clone();
        // It ends with the replica, of which the write itself tells.
        let cut_off = async {
            if contact.wait_for(|now| now.is_cut_off).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            written = tokio::time::timeout(self.timeout, self.raft.client_write(command)) => match written {
                Ok(Ok(response)) => Ok(response.data.outcomes),
                Ok(Err(error)) => Err(refusal(error)),
                // The entry may yet be committed.
                Err(_) => Err(Refusal::Unknown),
            },
            () = cut_off => Err(Refusal::Unknown),
        }
    }
}

fn refusal(error: RaftError<ReplicaId, ClientWriteError<ReplicaId, crate::types::Replica>>) -> Refusal {
    match error {
        // Said before the entry is appended, or after it was removed from the log again: in both
        // cases no majority has it.
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => Refusal::NotLeader(to.leader_id),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => Refusal::Stopped(error.to_string()),
        RaftError::Fatal(fatal) => Refusal::Stopped(fatal.to_string()),
    }
}
