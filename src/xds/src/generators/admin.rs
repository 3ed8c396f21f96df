//! Envoy's admin interface: reachable for the control plane over mutual TLS, and for anyone as far
//! as the readiness probe goes.

use super::blocks::{http_connection_manager, prefix_match, route_configuration, static_cluster, tls_inspector};
use super::internal_addresses::InternalAddresses;
use super::tls::{self, inline_bytes};
use crate::envoy::core::TrafficDirection;
use crate::envoy::listener::{FilterChain, FilterChainMatch, Listener};
use crate::envoy::route::{Route, RouteAction, route::Action, route_action::ClusterSpecifier};
use crate::envoy::tls::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, TlsCertificate,
    common_tls_context::ValidationContextType, subject_alt_name_matcher::SanType,
};
use crate::envoy::{BoolValue, pipe, socket_address};
use crate::names::{ENVOY_ADMIN, PROBE_READINESS};
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ClusterResource, ListenerResource, NetworkFilter, Origin, ResourceSet};

/// The name that a client of the admin listener must bear.
const CONTROL_PLANE: &str = "kuma-cp";

/// Certificates of the admin listener, PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminCerts {
    /// CA that signs the control plane's client certificate.
    pub ca: Vec<u8>,
    /// Certificate of the proxy.
    pub cert: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

/// What the generator needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `networking.address` of the Dataplane.
    pub dataplane_address: &'a str,
    /// Where Envoy's admin listens, empty for the default.
    pub admin_address: &'a str,
    /// Port of Envoy's admin; 0 when it has none.
    pub admin_port: u16,
    /// Unix socket of Envoy's admin, empty when it listens on a port.
    pub admin_socket_path: &'a str,
    /// Port of kuma-dp's readiness reporter.
    pub readiness_port: u16,
    /// Unix socket of the readiness reporter, empty when it listens on its port.
    pub readiness_socket_path: &'a str,
    /// Whether inbound listeners reuse their port.
    pub reuse_port: bool,
    /// Whether the proxy has IPv6.
    pub ipv6: bool,
    /// Certificates of the listener.
    pub certs: &'a AdminCerts,
}

/// An admin interface that cannot be offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The proxy says nothing of where readiness is reported.
    #[error("ReadinessPort has to be in (0, 65535] range")]
    ReadinessPort,
    /// The proxy names an address that could reach beyond itself.
    #[error(
        "envoy admin cluster is not allowed to have addresses other than \"\", \"127.0.0.1\", \"0.0.0.0\", \"::1\", \"::\""
    )]
    Address,
}

/// The admin resources; none when the proxy has no admin port.
///
/// # Errors
/// When the addresses that the proxy tells cannot be used; nothing else of the proxy depends on it.
pub fn generate(inputs: &Inputs<'_>) -> Result<ResourceSet, AdminError> {
    let mut set = ResourceSet::new();
    if inputs.admin_port == 0 {
        return Ok(set);
    }
    if inputs.readiness_port == 0 {
        return Err(AdminError::ReadinessPort);
    }
    let address = match inputs.admin_address {
        "" | "127.0.0.1" | "0.0.0.0" => "127.0.0.1",
        "::1" | "::" => "::1",
        _ => return Err(AdminError::Address),
    };
    let admin = match inputs.admin_socket_path {
        "" => socket_address(address, inputs.admin_port),
        path => pipe(path),
    };
    let readiness = match inputs.readiness_socket_path {
        "" => socket_address(address, inputs.readiness_port),
        path => pipe(path),
    };
    for (name, endpoint) in [(ENVOY_ADMIN, admin), (PROBE_READINESS, readiness)] {
        set.add_cluster(ClusterResource::new(Origin::Admin, static_cluster(name, 5, endpoint)));
    }
    if inputs.dataplane_address != address {
        set.add_listener(listener(inputs));
    }
    Ok(set)
}

fn listener(inputs: &Inputs<'_>) -> ListenerResource {
    let internal = InternalAddresses::loopback().for_proxy(inputs.ipv6);
    let hcm = |routes| {
        let config = route_configuration("", ENVOY_ADMIN, routes);
        vec![NetworkFilter::Hcm(Box::new(http_connection_manager(ENVOY_ADMIN, &internal, config)))]
    };
    let ready = || rewritten("/ready", PROBE_READINESS);
    let open = Chain::of(hcm(vec![ready()]));
    let guarded = Chain {
        chain: FilterChain {
            filter_chain_match: Some(FilterChainMatch { transport_protocol: "tls".to_owned(), ..Default::default() }),
            transport_socket: Some(tls::transport_socket(&downstream_tls(inputs.certs))),
            ..Default::default()
        },
        filters: hcm(vec![ready(), rewritten("/", ENVOY_ADMIN)]),
    };
    let message = Listener {
        name: ENVOY_ADMIN.to_owned(),
        address: Some(socket_address(inputs.dataplane_address, inputs.admin_port)),
        traffic_direction: TrafficDirection::Inbound.into(),
        enable_reuse_port: Some(BoolValue { value: inputs.reuse_port }),
        listener_filters: vec![tls_inspector()],
        ..Default::default()
    };
    ListenerResource::new(Origin::Admin, Protocol::Http, message, vec![open, guarded])
}

/// A route that hands the prefix on as it is and has no timeout of its own.
fn rewritten(prefix: &str, cluster: &str) -> Route {
    let action = RouteAction {
        prefix_rewrite: prefix.to_owned(),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    Route { r#match: Some(prefix_match(prefix)), action: Some(Action::Route(action)), ..Default::default() }
}

fn downstream_tls(certs: &AdminCerts) -> DownstreamTlsContext {
    let validation = CertificateValidationContext {
        trusted_ca: Some(inline_bytes(&certs.ca)),
        match_typed_subject_alt_names: vec![tls::exact_san(SanType::Dns, CONTROL_PLANE)],
        ..Default::default()
    };
    DownstreamTlsContext {
        require_client_certificate: Some(BoolValue { value: true }),
        common_tls_context: Some(CommonTlsContext {
            tls_certificates: vec![TlsCertificate {
                certificate_chain: Some(inline_bytes(&certs.cert)),
                private_key: Some(inline_bytes(&certs.key)),
                ..Default::default()
            }],
            validation_context_type: Some(ValidationContextType::ValidationContext(validation)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
