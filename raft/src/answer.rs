//! What a replica answers to the others.

use std::sync::Arc;

use openraft::error::{CheckIsLeaderError, RaftError};
use openraft::raft::VoteRequest;
use tonic::Status;

use crate::RaftStore;
use crate::record;
use crate::rpc::{AppendReply, GuardFailureRecord, Presence, Reply, Request, Welcome, append_request};
use crate::types::{log_id, vote};

fn stopped(error: &dyn std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

impl RaftStore {
    /// Answers one question. The caller has shown a certificate of the cluster, unless it joins.
    pub(crate) async fn answer(&self, request: Request) -> Result<Reply, Status> {
        match request {
            Request::Append { vote, previous, entries, committed } => {
                let rpc = append_request(vote, previous, entries, committed);
                let response = self.raft().append_entries(rpc).await.map_err(|e| stopped(&e))?;
                Ok(Reply::Append(AppendReply::of(&response)))
            }
            Request::Vote { vote: of, last } => {
                let rpc = VoteRequest { vote: vote(of), last_log_id: last.map(log_id) };
                let response = self.raft().vote(rpc).await.map_err(|e| stopped(&e))?;
                if response.vote_granted {
                    self.inner().granted.in_term(response.vote.leader_id.term);
                }
                Ok(Reply::vote(&response))
            }
            Request::Commit(bytes) => Ok(self.answer_commit(bytes.into_vec()).await),
            Request::ReadIndex => self.answer_read_index().await,
            Request::Elect => Ok(self.stand().await),
            Request::Change(change) => Ok(self.change_here(change).await),
            Request::Keys { keys, active } => Ok(match self.take_keys(keys, active) {
                Ok(()) => Reply::Done,
                Err(error) => Reply::Refused(error.to_string()),
            }),
            Request::Join { secret } => self.answer_join(&secret),
            Request::Vitals(told) => Ok(self.answer_vitals(&told)),
            Request::Question(question) => Ok(self.answer_question(&question).await),
            Request::Presence => {
                Ok(Reply::Presence(if self.dir().admitted() { Presence::Member } else { Presence::Joining }))
            }
            Request::Secret { generation, secret } => Ok(match self.take_secret(generation, secret) {
                Ok(()) => Reply::Done,
                Err(error) => Reply::Refused(error.to_string()),
            }),
            Request::Authority { term, step } => Ok(self.answer_authority_step(term, step).await),
        }
    }

    /// Commits for another replica. The transaction is decoded first: what cannot be applied must
    /// not get into the log.
    async fn answer_commit(&self, bytes: Vec<u8>) -> Reply {
        let txn = match record::decode_txn(&bytes, &self.keys(), self.reads_format()) {
            Ok(txn) => Arc::new(txn),
            Err(error) => return Reply::Refused(error.to_string()),
        };
        let author = txn.author.clone();
        match self.propose(bytes.into(), Some(txn)).await {
            Ok(Ok(batch)) => {
                self.tell_author(author.as_deref(), batch.revision);
                Reply::Committed(batch.revision.0)
            }
            Ok(Err(failure)) => Reply::Guard(GuardFailureRecord::of(&failure)),
            Err(refusal) => Reply::refusal(refusal),
        }
    }

    async fn answer_read_index(&self) -> Result<Reply, Status> {
        if self.inner().contact.borrow().is_cut_off {
            return Ok(Reply::NotLeader(None));
        }
        match self.raft().get_read_log_id().await {
            Ok((read, _applied)) => Ok(Reply::ReadIndex(read.map(|id| id.index))),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to))) => Ok(Reply::NotLeader(to.leader_id)),
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Ok(Reply::NotLeader(None)),
            Err(RaftError::Fatal(fatal)) => Err(stopped(&fatal)),
        }
    }

    fn answer_join(&self, secret: &[u8]) -> Result<Reply, Status> {
        let Some(pki) = self.pki().filter(|pki| pki.admits(secret)) else {
            tracing::warn!("a stranger asked to join with a wrong token");
            return Err(Status::permission_denied("join token is not valid"));
        };
        let keys = self.keys();
        Ok(Reply::Joined(Welcome {
            pki: pki.to_text(),
            keys: keys.keys().map(|(id, key)| (id, *key)).collect(),
            active: keys.active(),
            addresses: self.members().into_values().filter(|address| !address.is_empty()).collect(),
        }))
    }
}
