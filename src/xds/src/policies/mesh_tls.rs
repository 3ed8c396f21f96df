//! MeshTLS: which inbounds take plaintext, and which TLS the mesh speaks.
//! Resource: Kuma `MeshTLS`. Touches: inbound listeners' filter chains, the inbound passthrough, TLS
//! parameters of clusters.
//!
//! Without a policy, and whenever a policy cannot be read, inbounds take mTLS only.

use std::sync::Arc;

use model::kinds::mesh_tls::{Conf, TlsMode};
use model::kinds::tls_version::TlsVersion;
use model::registry;

use super::{Edit, Policy};
use crate::envoy::core::transport_socket;
use crate::envoy::listener::FilterChainMatch;
use crate::envoy::tls::{TlsParameters, UpstreamTlsContext, tls_parameters::TlsProtocol};
use crate::envoy::{pack, unpack};
use crate::generators::blocks::tls_inspector;
use crate::generators::tls::{TlsIdentity, transport_socket};
use crate::generators::transparent_proxy::{self, IpFamily};
use crate::names;
use crate::resource_set::{Chain, ListenerResource};

/// The protocol that proxies of the mesh negotiate among each other.
const MESH_ALPN: &str = "kuma";

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_TLS, edit };

fn edit(edit: &mut Edit<'_>) {
    let Some(identity) = edit.proxy.identity else { return };
    let mut mode = None;
    let mut params = None;
    for inbound in edit.proxy.inbounds {
        let conf = conf_of(edit, &inbound.address, inbound.port);
        let own_params = tls_params(&conf);
        let own_mode = conf.mode.clone().unwrap_or(TlsMode::Strict);
        if let Some(listener) = edit.set.listeners.get_mut(&names::inbound(&inbound.section)) {
            protect(listener, &own_mode, identity, edit.proxy.trust_domains, own_params.as_ref());
        }
        params = own_params.or(params);
        // The passthrough is one for all inbounds: it is open only when all of them are.
        mode = match (mode, own_mode) {
            (None | Some(TlsMode::Permissive), TlsMode::Permissive) => Some(TlsMode::Permissive),
            _ => Some(TlsMode::Strict),
        };
    }
    restrict_passthrough(edit, mode.unwrap_or(TlsMode::Strict));
    if let Some(params) = params {
        set_upstream_params(edit, &params);
    }
}

fn conf_of(edit: &mut Edit<'_>, address: &str, port: u16) -> Arc<Conf> {
    let rules = edit.rules.inbound(address, u32::from(port));
    rules.and_then(|rules| edit.faults.catch_all(rules)).unwrap_or_default()
}

/// Gives an inbound listener the chains of its mode. An unknown mode is a strict one.
fn protect<'a>(
    listener: &mut ListenerResource,
    mode: &TlsMode,
    identity: &TlsIdentity,
    trust_domains: impl IntoIterator<Item = &'a String>,
    params: Option<&TlsParameters>,
) {
    let Some(mut secured) = std::mem::take(&mut listener.chains).into_iter().next() else { return };
    let context = identity.downstream(trust_domains.into_iter().map(String::as_str), params.cloned());
    let plain = matches!(mode, TlsMode::Permissive).then(|| secured.clone());
    secured.chain.transport_socket = Some(transport_socket(&context));
    listener.chains = match plain {
        Some(plain) => {
            listener.listener.listener_filters.push(tls_inspector());
            vec![
                matching(plain.clone(), "raw_buffer", &[]),
                matching(plain, "tls", &[]),
                matching(secured, "tls", &[MESH_ALPN]),
            ]
        }
        None => vec![secured],
    };
}

fn matching(mut chain: Chain, transport: &str, alpn: &[&str]) -> Chain {
    chain.chain.filter_chain_match = Some(FilterChainMatch {
        transport_protocol: transport.to_owned(),
        application_protocols: alpn.iter().map(|&protocol| protocol.to_owned()).collect(),
        ..Default::default()
    });
    chain
}

/// In strict mode redirected connections pass on ports of inbounds only.
fn restrict_passthrough(edit: &mut Edit<'_>, mode: TlsMode) {
    let Some(inputs) = edit.proxy.passthrough else { return };
    let strict = edit.proxy.strict_inbound_ports && mode != TlsMode::Permissive && !edit.proxy.inbounds.is_empty();
    let ports = strict.then(|| edit.proxy.inbounds.iter().map(|inbound| inbound.port).collect());
    let inputs = transparent_proxy::Inputs { strict_inbound_ports: ports, ..inputs.clone() };
    for family in [IpFamily::V4, IpFamily::V6] {
        let listener = transparent_proxy::inbound_listener(family, &inputs);
        if edit.set.listeners.contains_key(listener.name()) {
            edit.set.add_listener(listener);
        }
    }
}

fn set_upstream_params(edit: &mut Edit<'_>, params: &TlsParameters) {
    for (destination, cluster) in edit.set.outbound_clusters_mut() {
        if destination.kind == registry::MESH_EXTERNAL_SERVICE {
            continue;
        }
        let Some(socket) = &mut cluster.cluster.transport_socket else { continue };
        let Some(transport_socket::ConfigType::TypedConfig(config)) = &mut socket.config_type else { continue };
        let Some(mut context) = unpack::<UpstreamTlsContext>(config) else { continue };
        context.common_tls_context.get_or_insert_default().tls_params = Some(params.clone());
        *config = pack(&context);
    }
}

/// What the conf says on versions and ciphers; `None` when nothing.
fn tls_params(conf: &Conf) -> Option<TlsParameters> {
    if conf.tls_version.is_none() && conf.tls_ciphers.is_none() {
        return None;
    }
    let protocol = |version: Option<&TlsVersion>| {
        i32::from(match version {
            Some(TlsVersion::Tls10) => TlsProtocol::TlSv10,
            Some(TlsVersion::Tls11) => TlsProtocol::TlSv11,
            Some(TlsVersion::Tls12) => TlsProtocol::TlSv12,
            Some(TlsVersion::Tls13) => TlsProtocol::TlSv13,
            Some(TlsVersion::Auto | TlsVersion::Unknown(_)) | None => TlsProtocol::TlsAuto,
        })
    };
    let versions = conf.tls_version.as_ref();
    let ciphers = conf.tls_ciphers.iter().flatten().filter(|cipher| cipher.is_known());
    Some(TlsParameters {
        tls_minimum_protocol_version: protocol(versions.and_then(|range| range.min.as_ref())),
        tls_maximum_protocol_version: protocol(versions.and_then(|range| range.max.as_ref())),
        cipher_suites: ciphers.map(|cipher| cipher.as_str().to_owned()).collect(),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests;
