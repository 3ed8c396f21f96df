//! Questions that the control planes of one group ask each other. This crate passes them on unread.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::RaftStore;
use crate::peers::CallError;
use crate::rpc::{Reply, Request};
use crate::types::ReplicaId;

/// Answers a question of another replica.
pub type Respond = Arc<dyn Fn(Value) -> BoxFuture<'static, Value> + Send + Sync>;

/// One other replica, and what it answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Its identity.
    pub id: ReplicaId,
    /// Where it is reached.
    pub address: String,
    /// Its answer; or why there is none.
    pub answer: Result<Value, String>,
}

/// Who answers on this replica.
#[derive(Default)]
pub(crate) struct Questions {
    respond: Mutex<Option<Respond>>,
}

impl Questions {
    fn respond(&self) -> Option<Respond> {
        self.respond.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who answers, or nobody any more.
    pub(crate) fn set(&self, respond: Option<Respond>) {
        *self.respond.lock().unwrap_or_else(PoisonError::into_inner) = respond;
    }
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").field("answered", &self.respond().is_some()).finish()
    }
}

impl RaftStore {
    /// Has questions of other replicas answered from now on, until it shuts down.
    pub fn respond(&self, respond: Respond) {
        self.heard().questions.set(Some(respond));
    }

    /// Asks every other replica of the group the same; each answer comes by itself, within `patience`.
    pub fn ask_others(&self, question: &Value, patience: Duration) -> Vec<BoxFuture<'static, Said>> {
        let others = self.members().into_iter().filter(|(id, _)| *id != self.id());
        others
            .map(|(id, address)| {
                let (store, question) = (self.clone(), question.clone());
                let said: BoxFuture<'static, Said> = Box::pin(async move {
                    let answer = store.question(id, &address, &question, patience).await;
                    Said { id, address, answer }
                });
                said
            })
            .collect()
    }

    async fn question(&self, id: ReplicaId, address: &str, what: &Value, patience: Duration) -> Result<Value, String> {
        let text = serde_json::to_vec(what).map_err(|e| e.to_string())?;
        match self.call_replica(id, address, &Request::Question(text.into()), patience).await {
            Ok(Reply::Answer(text)) => serde_json::from_slice(&text).map_err(|e| e.to_string()),
            Ok(Reply::Refused(why)) => Err(why),
            Ok(other) => Err(format!("{address}: unexpected answer {other:?}")),
            Err(CallError::Older(_)) => Err("it is of an older version, which does not tell".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Answers a question of another replica.
    pub(crate) async fn answer_question(&self, question: &[u8]) -> Reply {
        let Some(respond) = self.heard().questions.respond() else {
            return Reply::Refused("it serves no proxies".to_owned());
        };
        let answer = match serde_json::from_slice(question) {
            Ok(question) => respond(question).await,
            Err(error) => return Reply::Refused(error.to_string()),
        };
        match serde_json::to_vec(&answer) {
            Ok(text) => Reply::Answer(text.into()),
            Err(error) => Reply::Refused(error.to_string()),
        }
    }
}
