//! Names of Envoy resources, and how they become names of statistics.

use model::Kind;
pub use model::Kri;

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

/// Longest server name that TLS can carry, in characters.
const SNI_LEN_MAX: usize = 253;
/// Longest part of a host name, in characters (RFC 1123).
const LABEL_LEN_MAX: usize = 63;

/// A destination port that no server name can stand for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SniError {
    /// The kind is no destination.
    #[error("{0} has no SNI")]
    Kind(Kind),
    /// A part that is needed is missing.
    #[error("mesh, name and sectionName must be non-empty")]
    Missing,
    /// A part is no host name label.
    #[error("{field} \"{value}\" does not conform to RFC 1123")]
    Label {
        /// Which part.
        field: &'static str,
        /// What it is.
        value: String,
    },
    /// The whole is too long.
    #[error("computed SNI is {0} characters which exceeds the DNS hostname limit ({SNI_LEN_MAX})")]
    TooLong(usize),
}

/// The server name of a destination port, computed alike on both sides of a zone border.
///
/// # Errors
/// When the parts of the identifier cannot stand in a host name.
pub fn sni(kri: &Kri) -> Result<String, SniError> {
    if !kri.kind.is_destination {
        return Err(SniError::Kind(kri.kind));
    }
    if kri.mesh.is_empty() || kri.name.is_empty() || kri.section.is_empty() {
        return Err(SniError::Missing);
    }
    let mut parts = vec![("mesh", &*kri.mesh)];
    if !kri.zone.is_empty() {
        parts.push(("zone", &*kri.zone));
        if !kri.namespace.is_empty() {
            parts.push(("namespace", &*kri.namespace));
        }
    }
    parts.extend([("name", &*kri.name), ("sectionName", &*kri.section)]);
    if let Some((field, value)) = parts.iter().find(|(_, value)| !is_rfc1123_label(value)) {
        return Err(SniError::Label { field, value: (*value).to_owned() });
    }
    let sni = parts.iter().fold(format!("sni.{}", kri.kind.short), |sni, (_, part)| sni + "." + part);
    if sni.len() > SNI_LEN_MAX { Err(SniError::TooLong(sni.len())) } else { Ok(sni) }
}

fn is_rfc1123_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty()
        && text.len() <= LABEL_LEN_MAX
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use model::registry::{DATAPLANE, MESH_EXTERNAL_SERVICE, MESH_MULTI_ZONE_SERVICE, MESH_SERVICE};

    use super::*;

    fn kri(kind: Kind, zone: &str, namespace: &str, name: &str, section: &str) -> Kri {
        let [mesh, zone, namespace, name, section] = ["m", zone, namespace, name, section].map(Into::into);
        Kri { kind, mesh, zone, namespace, name, section }
    }

    #[test]
    fn server_names_leave_out_the_namespace_without_a_zone() {
        let cases = [
            (kri(MESH_SERVICE, "east", "ns", "web", "http"), "sni.msvc.m.east.ns.web.http"),
            (kri(MESH_SERVICE, "east", "", "web", "80"), "sni.msvc.m.east.web.80"),
            (kri(MESH_MULTI_ZONE_SERVICE, "", "ns", "web", "80"), "sni.mzsvc.m.web.80"),
            (kri(MESH_EXTERNAL_SERVICE, "", "", "out", "443"), "sni.extsvc.m.out.443"),
        ];
        for (kri, expected) in cases {
            assert_eq!(sni(&kri).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_cannot_stand_in_a_host_name_has_no_server_name() {
        assert_eq!(sni(&kri(DATAPLANE, "", "", "web", "80")), Err(SniError::Kind(DATAPLANE)));
        assert_eq!(sni(&kri(MESH_SERVICE, "", "", "web", "")), Err(SniError::Missing));
        let dotted = SniError::Label { field: "name", value: "a.b".to_owned() };
        assert_eq!(sni(&kri(MESH_SERVICE, "", "", "a.b", "80")), Err(dotted));
        assert!(sni(&kri(MESH_SERVICE, "", "", &"x".repeat(64), "80")).is_err());
    }

    #[test]
    fn statistics_keep_only_safe_characters() {
        assert_eq!(stat_name("direct_access_10.0.0.1:80"), "direct_access_10_0_0_1_80");
        assert_eq!(stat_name("kri_a-b"), "kri_a-b");
    }
}
