//! The certificate of one connected proxy: which it has, and whether another one is on its way.

use std::sync::Arc;
use std::time::Duration;

use actix::SpawnHandle;
use model::Timestamp;

use super::Issued;
use xds::WorkloadIdentity;

use super::wanted::{Need, Wanted};

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Identity {
    /// Nothing: it has what it needs.
    Ready,
    /// A certificate must be made.
    Issue(Box<Wanted>),
    /// One is being made, or cannot be made before something changes.
    Waiting,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Held {
    current: Option<Arc<Issued>>,
    /// Who it is by its SPIRE agent.
    spire: Option<Arc<WorkloadIdentity>>,
    /// Whether the proxy may have a configuration: it has what it needs, or needs nothing.
    complete: bool,
    issuing: bool,
    /// When the certificate is renewed.
    pub(crate) timer: Option<SpawnHandle>,
}

impl Held {
    /// The certificate of ours that it shows.
    pub(crate) fn issued_now(&self) -> Option<&Arc<Issued>> {
        self.current.as_ref()
    }

    /// Who the proxy is.
    pub(crate) fn workload(&self) -> Option<&Arc<WorkloadIdentity>> {
        self.current.as_ref().map(|issued| &issued.workload).or(self.spire.as_ref())
    }

    /// Whether a configuration may be made. A proxy whose certificate cannot be made gets none: it
    /// would speak and accept plaintext. One that has a former certificate goes on with that.
    pub(crate) fn may_generate(&self) -> bool {
        self.complete || self.current.is_some()
    }

    /// Whether it has what it needs, or needs nothing.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Compares what the proxy has with what it needs.
    pub(crate) fn step(&mut self, need: Need, now: Timestamp) -> Identity {
        self.spire.take_if(|spire| !matches!(&need, Need::Spire(needed) if **spire == *needed));
        match need {
            Need::Spire(workload) => {
                self.current = None;
                self.spire.get_or_insert_with(|| Arc::new(workload));
                self.complete = true;
                Identity::Ready
            }
            Need::Nothing => {
                self.current = None;
                self.complete = true;
                Identity::Ready
            }
            Need::Unavailable(why) => {
                tracing::warn!(why, "an identity cannot be made");
                self.forget_expired(now);
                self.complete = false;
                Identity::Waiting
            }
            Need::Certificate(wanted) => {
                self.forget_expired(now);
                let fits = |issued: &Arc<Issued>| issued.need == wanted.need && issued.renew_at > now;
                self.complete = self.current.as_ref().is_some_and(fits);
                if self.complete {
                    Identity::Ready
                } else if std::mem::replace(&mut self.issuing, true) {
                    Identity::Waiting
                } else {
                    Identity::Issue(wanted)
                }
            }
        }
    }

    /// The making has ended, with a certificate or without.
    pub(crate) fn issued(&mut self, issued: Option<Arc<Issued>>) {
        self.issuing = false;
        if issued.is_some() {
            self.current = issued;
        }
    }

    /// In how long the certificate must be renewed; `None` when there is none.
    pub(crate) fn due_in(&self, now: Timestamp) -> Option<Duration> {
        let renew_at = self.current.as_ref()?.renew_at;
        Some(Duration::try_from(renew_at.duration_since(now)).unwrap_or(Duration::ZERO))
    }

    fn forget_expired(&mut self, now: Timestamp) {
        self.current.take_if(|issued| issued.expires_at <= now);
    }
}
