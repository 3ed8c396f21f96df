//! Names of Envoy resources, and how they become names of statistics.

use std::fmt;

use model::Kind;

/// Identifier of a resource, or with a section of a part of it, as
/// `kri_msvc_default_east_demo_backend_http`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kri {
    /// Kind of the resource.
    pub kind: Kind,
    /// Its mesh, empty for global kinds.
    pub mesh: String,
    /// Zone that it comes from, empty when it comes from none.
    pub zone: String,
    /// Its namespace on Kubernetes, empty elsewhere.
    pub namespace: String,
    /// Its display name.
    pub name: String,
    /// The part of it (a port's name or number), empty for the whole.
    pub section: String,
}

impl fmt::Display for Kri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, mesh, zone, namespace, name, section } = self;
        write!(f, "kri_{}_{mesh}_{zone}_{namespace}_{name}_{section}", kind.short)
    }
}

/// Secret with the CAs of all trusted domains.
pub const TRUST_BUNDLE: &str = "system_trust_bundle";
/// Admin listener and cluster.
pub const ENVOY_ADMIN: &str = "system_envoy_admin";
/// Cluster of kuma-dp's readiness reporter.
pub const PROBE_READINESS: &str = "system_probe_readiness";
/// Listener from which kuma-dp reads its own configuration.
pub const DYNAMIC_CONFIG: &str = "system_dynamicconfig";
/// Cluster of the local SPIRE agent.
pub const SPIRE_AGENT: &str = "system_identity_sds-spire-agent";
/// Cluster of connections to other dataplanes by their own address.
pub const DIRECT_ACCESS: &str = "direct_access";
/// Cluster without endpoints, for redirected connections that have no destination.
pub const NO_DESTINATION_INBOUND: &str = "self_transparentproxy_no_destination_inbound";

/// Listener and cluster of redirected inbound connections that match no inbound.
pub fn passthrough_inbound(ip_version: u8) -> String {
    format!("self_transparentproxy_passthrough_inbound_ipv{ip_version}")
}

/// Listener and cluster of redirected outbound connections that match no outbound.
pub fn passthrough_outbound(ip_version: u8) -> String {
    format!("self_transparentproxy_passthrough_outbound_ipv{ip_version}")
}

/// Listener, cluster and routes of an inbound; the section is its name or port number.
pub fn inbound(section: &str) -> String {
    format!("self_inbound_dp_{section}")
}

/// Listener of a zone ingress; the section is its name or port number.
pub fn zone_ingress(section: &str) -> String {
    format!("self_zoneingress_dp_{section}")
}

/// Listener of a zone egress; the section is its name or port number.
pub fn zone_egress(section: &str) -> String {
    format!("self_zoneegress_dp_{section}")
}

/// A name as it may stand in the name of a statistic: anything outside `[a-zA-Z0-9_-]` becomes `_`.
pub fn stat_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect()
}
