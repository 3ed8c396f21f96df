//! What the actors are configured with.

use std::sync::Arc;
use std::time::Duration;

use model::labels::Site;
use xds::ViewSettings;
use xds::generators::internal_addresses::InternalAddresses;
use xds::health::HealthSettings;

use crate::admission::Authentication;
use crate::names::{Names, SystemNames};

/// Settings of the proxies' side of a control plane. `Default` has Kuma's defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Identifier of this control plane process, told to proxies and written into insights.
    pub instance_id: Arc<str>,
    /// Name of the local zone.
    pub zone: Arc<str>,
    /// Whether proxies run as pods. Decides on labels and on the default SPIFFE path.
    pub kubernetes: bool,
    /// Source addresses that count as internal.
    pub internal_addresses: InternalAddresses,
    /// Socket of the SPIRE agent, for proxies that do not name their own.
    pub spire_socket_path: String,
    /// How proxies prove who they are.
    pub authentication: Authentication,
    /// How long a Dataplane that a proxy brought along outlives the proxy's stream.
    pub deregistration_delay: Duration,
    /// How long changes of an insight are gathered before they are written.
    pub status_flush_interval: Duration,
    /// Half of this is the time after which the generation of a connected subscription grows.
    pub idle_timeout: Duration,
    /// Pause after the first failure to issue an identity; it doubles up to `backoff_max`.
    pub backoff_base: Duration,
    /// Longest pause after failures to issue an identity.
    pub backoff_max: Duration,
    /// How proxies check their workloads; `None`: they are not asked to.
    pub health: Option<HealthSettings>,
    /// How host names in addresses are looked up.
    pub names: Arc<dyn Names>,
    /// How long what was found of a host name is used before it is looked up again.
    pub names_ttl: Duration,
    /// How many identities are made at a time. `None`: one per core.
    pub issuers: Option<usize>,
    /// How many threads run actors. `None`: one per core.
    pub arbiters: Option<usize>,
    /// Whether every view and every configuration is also made from nothing and compared: to find
    /// mistakes of what is incremental. Costs as much as not being incremental.
    pub verify_views: bool,
}

impl Settings {
    /// Where resources are written.
    pub(crate) fn site(&self) -> Site {
        Site::Zone { name: self.zone.to_string(), federated: false, kubernetes: self.kubernetes }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            instance_id: "kuma-cp".into(),
            zone: "default".into(),
            kubernetes: false,
            internal_addresses: InternalAddresses::default(),
            spire_socket_path: ViewSettings::default().spire_socket_path,
            authentication: Authentication::Token { public_keys: Vec::new(), use_secrets: true, in_memory: false },
            deregistration_delay: Duration::from_secs(10),
            status_flush_interval: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            backoff_base: Duration::from_secs(5),
            backoff_max: Duration::from_secs(300),
            health: Some(HealthSettings::default()),
            names: Arc::new(SystemNames),
            names_ttl: Duration::from_secs(10),
            issuers: None,
            arbiters: None,
            verify_views: false,
        }
    }
}
