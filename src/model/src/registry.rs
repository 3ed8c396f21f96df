//! The table of all kinds.
//!
//! Source: the registered types of Kuma 3.0. A kind is added by one line here and, when it has a
//! typed spec, one file under `kinds/`.

use crate::codec::{Codec, OPAQUE};
use crate::descriptor::{Descriptor, Form, KdsFlags, Kind, Scope};
use crate::kinds;

const Z2G: KdsFlags = KdsFlags::ZONE_TO_GLOBAL;
const G2Z: KdsFlags = KdsFlags::GLOBAL_TO_ZONE;
const BOTH: KdsFlags = Z2G.and(G2Z);
const ACROSS: KdsFlags = KdsFlags::SYNCED_ACROSS_ZONES;

const BASE: Descriptor = Descriptor {
    name: "",
    scope: Scope::Mesh,
    form: Form::Spec,
    kds: BOTH,
    skip_kds_hash: false,
    path: "",
    alt_path: "",
    short: "",
    kumactl_arg: "",
    kumactl_list_arg: "",
    singular: "",
    plural: "",
    read_only: false,
    admin_only: false,
    is_policy: false,
    has_to: false,
    has_rules: false,
    is_destination: false,
    has_status: false,
    system_namespace_only: false,
    affects_policy_matching: true,
    order: 0,
    insight: "",
    overview: "",
    codec: OPAQUE,
};

/// What a policy is made of: `to`, `rules`, or one `default` alone.
#[derive(Clone, Copy)]
enum Parts {
    To,
    Rules,
    ToAndRules,
    Default,
}

const fn policy(
    order: u16,
    name: &'static str,
    short: &'static str,
    names: [&'static str; 4],
    parts: Parts,
    codec: Codec,
) -> Descriptor {
    let [arg, path, singular, plural] = names;
    Descriptor {
        name,
        kds: BOTH.and(ACROSS),
        path,
        short,
        kumactl_arg: arg,
        kumactl_list_arg: path,
        singular,
        plural,
        is_policy: true,
        has_to: matches!(parts, Parts::To | Parts::ToAndRules),
        has_rules: matches!(parts, Parts::Rules | Parts::ToAndRules),
        order,
        codec,
        ..BASE
    }
}

const fn with_status(descriptor: Descriptor) -> Descriptor {
    Descriptor { has_status: true, ..descriptor }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $constant:ident = $descriptor:expr;)*) => {
        $( $(#[$doc])* pub const $constant: Kind = {
            static DESCRIPTOR: Descriptor = $descriptor;
            Kind(&DESCRIPTOR)
        }; )*
        /// Every kind, by type name.
        pub const KINDS: &[Kind] = &[$($constant),*];
    };
}

kinds! {
    /// `Config`: internal settings; not on REST.
    CONFIG = Descriptor { name: "Config", scope: Scope::Global, form: Form::Proto, kds: G2Z.and(KdsFlags::PROVIDED_BY_ZONE), skip_kds_hash: true, singular: "Config", plural: "Configs", codec: kinds::config::CODEC, ..BASE };
    /// `Dataplane`: one proxy.
    DATAPLANE = Descriptor { name: "Dataplane", form: Form::Proto, kds: Z2G, path: "dataplanes", short: "dp", kumactl_arg: "dataplane", kumactl_list_arg: "dataplanes", singular: "Dataplane", plural: "Dataplanes", affects_policy_matching: false, insight: "DataplaneInsight", overview: "DataplaneOverview", codec: kinds::dataplane::CODEC, ..BASE };
    /// `DataplaneInsight`: what is known of a running proxy.
    DATAPLANE_INSIGHT = Descriptor { name: "DataplaneInsight", form: Form::Proto, kds: Z2G, path: "dataplane-insights", singular: "Dataplane Insight", plural: "Dataplane Insights", read_only: true, affects_policy_matching: false, codec: kinds::dataplane_insight::CODEC, ..BASE };
    /// `GlobalSecret`: a secret beside all meshes.
    GLOBAL_SECRET = Descriptor { name: "GlobalSecret", scope: Scope::Global, form: Form::Proto, kds: G2Z.and(KdsFlags::PROVIDED_BY_ZONE), skip_kds_hash: true, path: "globalsecrets", alt_path: "global-secrets", kumactl_arg: "globalsecret", kumactl_list_arg: "globalsecrets", singular: "Global Secret", plural: "Global Secrets", admin_only: true, codec: kinds::secret::CODEC, ..BASE };
    /// `HostnameGenerator`: hostnames of destinations from a template.
    HOSTNAME_GENERATOR = Descriptor { name: "HostnameGenerator", scope: Scope::Global, path: "hostnamegenerators", short: "hg", kumactl_arg: "hostnamegenerator", kumactl_list_arg: "hostnamegenerators", singular: "Hostname Generator", plural: "Hostname Generators", system_namespace_only: true, codec: kinds::hostname_generator::CODEC, ..BASE };
    /// `Mesh`.
    MESH = Descriptor { name: "Mesh", scope: Scope::Global, form: Form::Proto, kds: G2Z, skip_kds_hash: true, path: "meshes", short: "m", kumactl_arg: "mesh", kumactl_list_arg: "meshes", singular: "Mesh", plural: "Meshes", codec: kinds::mesh::CODEC, ..BASE };
    /// `MeshAccessLog`.
    MESH_ACCESS_LOG = with_status(policy(600, "MeshAccessLog", "mal", ["meshaccesslog", "meshaccesslogs", "Mesh Access Log", "Mesh Access Logs"], Parts::ToAndRules, kinds::mesh_access_log::CODEC));
    /// `MeshCircuitBreaker`.
    MESH_CIRCUIT_BREAKER = policy(1300, "MeshCircuitBreaker", "mcb", ["meshcircuitbreaker", "meshcircuitbreakers", "Mesh Circuit Breaker", "Mesh Circuit Breakers"], Parts::ToAndRules, kinds::mesh_circuit_breaker::CODEC);
    /// `MeshExternalService`: a destination outside the mesh.
    MESH_EXTERNAL_SERVICE = Descriptor { name: "MeshExternalService", path: "meshexternalservices", short: "extsvc", kumactl_arg: "meshexternalservice", kumactl_list_arg: "meshexternalservices", singular: "Mesh External Service", plural: "Mesh External Services", is_destination: true, has_status: true, system_namespace_only: true, codec: kinds::mesh_external_service::CODEC, ..BASE };
    /// `MeshFaultInjection`.
    MESH_FAULT_INJECTION = policy(800, "MeshFaultInjection", "mfi", ["meshfaultinjection", "meshfaultinjections", "Mesh Fault Injection", "Mesh Fault Injections"], Parts::ToAndRules, kinds::mesh_fault_injection::CODEC);
    /// `MeshHealthCheck`.
    MESH_HEALTH_CHECK = policy(1200, "MeshHealthCheck", "mhc", ["meshhealthcheck", "meshhealthchecks", "Mesh Health Check", "Mesh Health Checks"], Parts::To, kinds::mesh_health_check::CODEC);
    /// `MeshHTTPRoute`.
    MESH_HTTP_ROUTE = policy(100, "MeshHTTPRoute", "mhttpr", ["meshhttproute", "meshhttproutes", "Mesh HTTP Route", "Mesh HTTP Routes"], Parts::To, kinds::mesh_http_route::CODEC);
    /// `MeshIdentity`: who workloads are and who vouches for them.
    MESH_IDENTITY = Descriptor { name: "MeshIdentity", path: "meshidentities", short: "mid", kumactl_arg: "meshidentity", kumactl_list_arg: "meshidentities", singular: "Mesh Identity", plural: "Mesh Identities", has_status: true, system_namespace_only: true, codec: kinds::mesh_identity::CODEC, ..BASE };
    /// `MeshInsight`: counters of a mesh.
    MESH_INSIGHT = Descriptor { name: "MeshInsight", scope: Scope::Global, form: Form::Proto, kds: KdsFlags::PROVIDED_BY_GLOBAL, path: "mesh-insights", singular: "Mesh Insight", plural: "Mesh Insights", read_only: true, affects_policy_matching: false, codec: kinds::mesh_insight::CODEC, ..BASE };
    /// `MeshLoadBalancingStrategy`.
    MESH_LOAD_BALANCING_STRATEGY = policy(400, "MeshLoadBalancingStrategy", "mlbs", ["meshloadbalancingstrategy", "meshloadbalancingstrategies", "Mesh Load Balancing Strategy", "Mesh Load Balancing Strategies"], Parts::To, kinds::mesh_load_balancing_strategy::CODEC);
    /// `MeshMetric`.
    MESH_METRIC = with_status(policy(1500, "MeshMetric", "mm", ["meshmetric", "meshmetrics", "Mesh Metric", "Mesh Metrics"], Parts::Default, kinds::mesh_metric::CODEC));
    /// `MeshMultiZoneService`: services of several zones under one name.
    MESH_MULTI_ZONE_SERVICE = Descriptor { name: "MeshMultiZoneService", kds: G2Z, path: "meshmultizoneservices", short: "mzsvc", kumactl_arg: "meshmultizoneservice", kumactl_list_arg: "meshmultizoneservices", singular: "Mesh Multi Zone Service", plural: "Mesh Multi Zone Services", is_destination: true, has_status: true, codec: kinds::mesh_multi_zone_service::CODEC, ..BASE };
    /// `MeshOpenTelemetryBackend`.
    MESH_OPEN_TELEMETRY_BACKEND = Descriptor { name: "MeshOpenTelemetryBackend", path: "meshopentelemetrybackends", short: "motb", kumactl_arg: "meshopentelemetrybackend", kumactl_list_arg: "meshopentelemetrybackends", singular: "Mesh OpenTelemetry Backend", plural: "Mesh OpenTelemetry Backends", has_status: true, system_namespace_only: true, codec: kinds::mesh_open_telemetry_backend::CODEC, ..BASE };
    /// `MeshPassthrough`.
    MESH_PASSTHROUGH = policy(500, "MeshPassthrough", "mp", ["meshpassthrough", "meshpassthroughs", "Mesh Passthrough", "Mesh Passthroughs"], Parts::Default, kinds::mesh_passthrough::CODEC);
    /// `MeshProxyPatch`.
    MESH_PROXY_PATCH = policy(9999, "MeshProxyPatch", "mpp", ["meshproxypatch", "meshproxypatches", "Mesh Proxy Patch", "Mesh Proxy Patches"], Parts::Default, kinds::mesh_proxy_patch::CODEC);
    /// `MeshRateLimit`.
    MESH_RATE_LIMIT = policy(900, "MeshRateLimit", "mrl", ["meshratelimit", "meshratelimits", "Mesh Rate Limit", "Mesh Rate Limits"], Parts::ToAndRules, kinds::mesh_rate_limit::CODEC);
    /// `MeshRetry`.
    MESH_RETRY = policy(1400, "MeshRetry", "mr", ["meshretry", "meshretries", "Mesh Retry", "Mesh Retries"], Parts::To, kinds::mesh_retry::CODEC);
    /// `MeshService`: a destination inside the mesh.
    MESH_SERVICE = Descriptor { name: "MeshService", kds: Z2G.and(ACROSS), path: "meshservices", short: "msvc", kumactl_arg: "meshservice", kumactl_list_arg: "meshservices", singular: "Mesh Service", plural: "Mesh Services", is_destination: true, has_status: true, codec: kinds::mesh_service::CODEC, ..BASE };
    /// `MeshTCPRoute`.
    MESH_TCP_ROUTE = policy(200, "MeshTCPRoute", "mtcpr", ["meshtcproute", "meshtcproutes", "Mesh TCP Route", "Mesh TCP Routes"], Parts::To, kinds::mesh_tcp_route::CODEC);
    /// `MeshTimeout`.
    MESH_TIMEOUT = policy(1000, "MeshTimeout", "mt", ["meshtimeout", "meshtimeouts", "Mesh Timeout", "Mesh Timeouts"], Parts::ToAndRules, kinds::mesh_timeout::CODEC);
    /// `MeshTLS`.
    MESH_TLS = policy(300, "MeshTLS", "mtls", ["meshtls", "meshtlses", "Mesh TLS", "Mesh TLSes"], Parts::Rules, kinds::mesh_tls::CODEC);
    /// `MeshTrace`.
    MESH_TRACE = with_status(policy(700, "MeshTrace", "mtr", ["meshtrace", "meshtraces", "Mesh Trace", "Mesh Traces"], Parts::Default, kinds::mesh_trace::CODEC));
    /// `MeshTrafficPermission`.
    MESH_TRAFFIC_PERMISSION = policy(1100, "MeshTrafficPermission", "mtp", ["meshtrafficpermission", "meshtrafficpermissions", "Mesh Traffic Permission", "Mesh Traffic Permissions"], Parts::Rules, kinds::mesh_traffic_permission::CODEC);
    /// `MeshTrust`: the certificate authorities of a trust domain.
    MESH_TRUST = Descriptor { name: "MeshTrust", path: "meshtrusts", short: "mtrust", kumactl_arg: "meshtrust", kumactl_list_arg: "meshtrusts", singular: "Mesh Trust", plural: "Mesh Trusts", has_status: true, system_namespace_only: true, codec: kinds::mesh_trust::CODEC, ..BASE };
    /// `MeshZoneAddress`: the public address of a zone ingress.
    MESH_ZONE_ADDRESS = Descriptor { name: "MeshZoneAddress", kds: Z2G.and(ACROSS), path: "meshzoneaddresses", short: "mza", kumactl_arg: "meshzoneaddress", kumactl_list_arg: "meshzoneaddresses", singular: "Mesh Zone Address", plural: "Mesh Zone Addresses", codec: kinds::mesh_zone_address::CODEC, ..BASE };
    /// `Secret`: a secret of a mesh.
    SECRET = Descriptor { name: "Secret", form: Form::Proto, kds: G2Z.and(KdsFlags::PROVIDED_BY_ZONE), skip_kds_hash: true, path: "secrets", kumactl_arg: "secret", kumactl_list_arg: "secrets", singular: "Secret", plural: "Secrets", admin_only: true, codec: kinds::secret::CODEC, ..BASE };
    /// `ServiceInsight`: served, never written.
    SERVICE_INSIGHT = Descriptor { name: "ServiceInsight", form: Form::Proto, kds: G2Z, path: "service-insights", singular: "Service Insight", plural: "Service Insights", read_only: true, affects_policy_matching: false, ..BASE };
    /// `Workload`: what a group of dataplanes runs.
    WORKLOAD = Descriptor { name: "Workload", kds: Z2G, path: "workloads", short: "wl", kumactl_arg: "workload", kumactl_list_arg: "workloads", singular: "Workload", plural: "Workloads", has_status: true, codec: kinds::workload::CODEC, ..BASE };
    /// `Zone`: a zone control plane.
    ZONE = Descriptor { name: "Zone", scope: Scope::Global, form: Form::Proto, kds: KdsFlags::PROVIDED_BY_GLOBAL.and(KdsFlags::PROVIDED_BY_ZONE), path: "zones", short: "z", kumactl_arg: "zone", kumactl_list_arg: "zones", singular: "Zone", plural: "Zones", affects_policy_matching: false, insight: "ZoneInsight", overview: "ZoneOverview", codec: kinds::zone::CODEC, ..BASE };
    /// `ZoneInsight`: what is known of a zone control plane.
    ZONE_INSIGHT = Descriptor { name: "ZoneInsight", scope: Scope::Global, form: Form::Proto, kds: KdsFlags::PROVIDED_BY_GLOBAL.and(KdsFlags::PROVIDED_BY_ZONE), path: "zone-insights", singular: "Zone Insight", plural: "Zone Insights", read_only: true, affects_policy_matching: false, codec: kinds::zone_insight::CODEC, ..BASE };
}

/// The kind of a type name, as in `type:`.
pub fn by_name(name: &str) -> Option<Kind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

/// The kind that a REST path segment names, its alternative path included.
pub fn by_path(path: &str) -> Option<Kind> {
    KINDS.iter().copied().find(|kind| !path.is_empty() && (kind.path == path || kind.alt_path == path))
}

/// The kind of a short name, as in identifiers.
pub fn by_short(short: &str) -> Option<Kind> {
    KINDS.iter().copied().find(|kind| !short.is_empty() && kind.short == short)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_paths_and_short_names_are_unique() {
        let names: BTreeSet<_> = KINDS.iter().map(|k| k.name).collect();
        assert_eq!(names.len(), KINDS.len());
        for field in [|k: &Kind| k.path, |k: &Kind| k.short] {
            let all: Vec<_> = KINDS.iter().map(field).filter(|s| !s.is_empty()).collect();
            let unique: BTreeSet<_> = all.iter().collect();
            assert_eq!(unique.len(), all.len());
        }
    }

    #[test]
    fn the_table_is_sorted_by_constant_and_covers_lookups() {
        assert_eq!(by_path("global-secrets"), Some(GLOBAL_SECRET));
        assert_eq!(by_short("mtp"), Some(MESH_TRAFFIC_PERMISSION));
        assert_eq!(by_name("MeshTLS"), Some(MESH_TLS));
        assert_eq!(by_path(""), None);
    }

    #[test]
    fn kinds_synced_across_zones_are_provided_by_zones() {
        for kind in KINDS.iter().filter(|k| k.kds.has(KdsFlags::SYNCED_ACROSS_ZONES)) {
            assert!(kind.kds.has(KdsFlags::PROVIDED_BY_ZONE), "{kind}");
        }
    }
}
