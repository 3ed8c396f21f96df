//! Certificates of proxies: who needs which, made off the actors, kept across reconnects.

mod admin;
mod held;
mod wanted;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use identity::x509::{Authority, X509Error, issue_workload};
use model::Timestamp;
use rand::Rng;
use tokio::sync::Semaphore;
use tracing::{info, warn};
use xds::generators::admin::AdminCerts;
use xds::{ContentHash, IdentitySource, WorkloadIdentity};

pub(crate) use admin::AdminCertificate;
pub(crate) use held::{Held, Identity};
pub(crate) use wanted::{Need, Wanted};

use crate::admission::ProxyId;
use crate::settings::Settings;

/// How many loaded authorities are kept: one a MeshIdentity in use is the aim.
const AUTHORITIES_LEN_MAX: usize = 64;

/// How many certificates are kept for proxies that may come back.
const KEPT_LEN_MAX: usize = 20_000;

/// A certificate that a proxy may show.
#[derive(Debug)]
pub(crate) struct Issued {
    /// What it was made for; another need asks for another certificate.
    pub(crate) need: ContentHash,
    /// Who it makes the proxy, certificate and key included.
    pub(crate) workload: Arc<WorkloadIdentity>,
    /// When it was made.
    pub(crate) issued_at: Timestamp,
    /// When another one is due.
    pub(crate) renew_at: Timestamp,
    /// Until when it is valid.
    pub(crate) expires_at: Timestamp,
    /// How many were made for this proxy by this process.
    pub(crate) count: u32,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    /// The authority cannot sign.
    #[error(transparent)]
    Certificate(#[from] X509Error),
    /// The thread that made it is gone.
    #[error("the issuing thread ended")]
    Thread,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Identities {
    /// What admits work: certificates cost CPU time, so no more are made at once than cores exist.
    permits: Semaphore,
    authorities: Mutex<BTreeMap<ContentHash, Arc<Authority>>>,
    kept: Mutex<BTreeMap<ProxyId, Arc<Issued>>>,
    /// Admin certificates by address.
    admins: Mutex<BTreeMap<String, Arc<AdminCerts>>>,
    failures: Mutex<BTreeMap<ProxyId, u32>>,
    backoff_base: Duration,
    backoff_max: Duration,
}

impl Identities {
    pub(crate) fn new(settings: &Settings) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            permits: Semaphore::new(settings.issuers.unwrap_or(cores).max(1)),
            authorities: Mutex::default(),
            kept: Mutex::default(),
            admins: Mutex::default(),
            failures: Mutex::default(),
            backoff_base: settings.backoff_base,
            backoff_max: settings.backoff_max,
        }
    }

    /// A certificate for the proxy: the one that it had, when that still fits, or a new one. After
    /// a failure it answers `None`, and only when it may be asked again.
    pub(crate) async fn issue(&self, id: &ProxyId, wanted: Wanted) -> Option<Arc<Issued>> {
        let former = lock(&self.kept).get(id).cloned();
        if let Some(former) = &former
            && former.need == wanted.need
            && former.renew_at > Timestamp::now()
        {
            return Some(Arc::clone(former));
        }
        let count = former.map_or(0, |former| former.count) + 1;
        match self.make(wanted, count).await {
            Ok(issued) => {
                self.succeeded(id);
                info!(proxy = %id, spiffe_id = issued.workload.spiffe_id, expires_at = %issued.expires_at, "identity issued");
                metrics::counter!(crate::metrics::IDENTITIES_ISSUED).increment(1);
                self.keep(id, &issued);
                Some(issued)
            }
            Err(error) => {
                let pause = self.failed(id);
                warn!(proxy = %id, %error, ?pause, "no identity");
                metrics::counter!(crate::metrics::GENERATION_ERRORS).increment(1);
                tokio::time::sleep(pause).await;
                None
            }
        }
    }

    async fn make(&self, wanted: Wanted, count: u32) -> Result<Arc<Issued>, IssueError> {
        let _permit = self.permits.acquire().await.map_err(|_| IssueError::Thread)?;
        let known = self.authority(wanted.authority_hash);
        let made = tokio::task::spawn_blocking(move || make_now(wanted, known, count));
        let (authority_hash, authority, issued) = made.await.map_err(|_| IssueError::Thread)??;
        self.keep_authority(authority_hash, authority);
        Ok(issued)
    }

    /// An authority that was read before.
    fn authority(&self, hash: ContentHash) -> Option<Arc<Authority>> {
        lock(&self.authorities).get(&hash).cloned()
    }

    fn keep_authority(&self, hash: ContentHash, authority: Arc<Authority>) {
        let mut authorities = lock(&self.authorities);
        if authorities.len() >= AUTHORITIES_LEN_MAX {
            authorities.clear();
        }
        authorities.insert(hash, authority);
    }

    fn keep(&self, id: &ProxyId, issued: &Arc<Issued>) {
        let mut kept = lock(&self.kept);
        if kept.len() >= KEPT_LEN_MAX {
            let now = Timestamp::now();
            kept.retain(|_, issued| issued.renew_at > now && Arc::strong_count(issued) > 1);
        }
        kept.insert(id.clone(), Arc::clone(issued));
    }

    fn succeeded(&self, id: &ProxyId) {
        let mut failures = lock(&self.failures);
        failures.remove(id);
        metrics::gauge!(crate::metrics::CERT_BACKOFF).set(failures.len() as f64);
    }

    /// Counts a failure; how long to wait after it.
    fn failed(&self, id: &ProxyId) -> Duration {
        let mut failures = lock(&self.failures);
        let count = failures.entry(id.clone()).or_insert(0);
        *count = count.saturating_add(1);
        let doubled = self.backoff_base.saturating_mul(1 << (*count - 1).min(16)).min(self.backoff_max);
        metrics::gauge!(crate::metrics::CERT_BACKOFF).set(failures.len() as f64);
        doubled.mul_f64(rand::rng().random_range(0.8..1.2))
    }
}

fn make_now(
    wanted: Wanted,
    known: Option<Arc<Authority>>,
    count: u32,
) -> Result<(ContentHash, Arc<Authority>, Arc<Issued>), IssueError> {
    let authority = match known {
        Some(authority) => authority,
        None => Arc::new(Authority::load(&wanted.authority)?),
    };
    let certificate =
        issue_workload(&authority, &wanted.spiffe_id, wanted.leaf_key, wanted.validity, Timestamp::now())?;
    let source = IdentitySource::Issued {
        chain_pem: certificate.pair.certificate_pem.clone().into_bytes(),
        key_pem: certificate.pair.key_pem.clone().into_bytes(),
    };
    let spiffe_id = wanted.spiffe_id.to_string();
    let issued = Arc::new(Issued {
        need: wanted.need,
        workload: Arc::new(WorkloadIdentity { mesh_identity: wanted.kri, spiffe_id, source }),
        issued_at: certificate.issued_at,
        renew_at: certificate.renew_at(),
        expires_at: certificate.expires_at,
        count,
    });
    Ok((wanted.authority_hash, authority, issued))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
