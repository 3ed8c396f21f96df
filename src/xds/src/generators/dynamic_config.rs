//! What kuma-dp fetches from its own Envoy: documents served as direct responses of one listener on a
//! Unix socket, each with its hash as ETag.

use sha2::{Digest, Sha256};

use super::blocks::http_connection_manager;
use super::internal_addresses::InternalAddresses;
use crate::envoy::core::{DataSource, HeaderValue, HeaderValueOption, data_source::Specifier};
use crate::envoy::listener::Listener;
use crate::envoy::matcher::{StringMatcher, string_matcher::MatchPattern};
use crate::envoy::route::header_matcher::HeaderMatchSpecifier;
use crate::envoy::route::route::Action;
use crate::envoy::route::route_match::PathSpecifier;
use crate::envoy::route::{DirectResponseAction, HeaderMatcher, Route, RouteConfiguration, RouteMatch, VirtualHost};
use crate::envoy::{UInt32Value, pipe};
use crate::names::DYNAMIC_CONFIG;
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ListenerResource, NetworkFilter, Origin, ResourceSet};

/// Socket of the listener within the proxy's working directory.
const SOCKET: &str = "kuma-mesh-metric-config.sock";

/// Where the listener of a proxy is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Working directory of the proxy, empty for none.
    pub work_dir: &'a str,
    /// Whether the proxy has IPv6.
    pub ipv6: bool,
}

/// Serves `body` under `/<name>`: makes the listener when it is not there yet.
pub fn add(set: &mut ResourceSet, place: Place<'_>, name: &str, body: String) {
    if !set.listeners.contains_key(DYNAMIC_CONFIG) {
        set.add_listener(listener(place));
    }
    let Some(routes) = set.listeners.get_mut(DYNAMIC_CONFIG).and_then(|l| l.route_configs_mut().next()) else {
        return;
    };
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let longest = routes.max_direct_response_body_size_bytes.map_or(0, |max| max.value).max(len);
    routes.max_direct_response_body_size_bytes = Some(UInt32Value { value: longest });
    if let Some(host) = routes.virtual_hosts.first_mut() {
        host.routes.extend(routes_of(name, body));
    }
}

fn listener(place: Place<'_>) -> ListenerResource {
    let path = if place.work_dir.is_empty() { SOCKET.to_owned() } else { format!("{}/{SOCKET}", place.work_dir) };
    let routes = RouteConfiguration {
        virtual_hosts: vec![VirtualHost {
            name: DYNAMIC_CONFIG.to_owned(),
            domains: vec!["*".to_owned()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let internal = InternalAddresses::loopback().for_proxy(place.ipv6);
    let hcm = http_connection_manager(DYNAMIC_CONFIG, &internal, routes);
    let message = Listener {
        name: DYNAMIC_CONFIG.to_owned(),
        stat_prefix: DYNAMIC_CONFIG.to_owned(),
        address: Some(pipe(&path)),
        ..Default::default()
    };
    let chain = Chain::of(vec![NetworkFilter::Hcm(Box::new(hcm))]);
    ListenerResource::new(Origin::DynamicConfig, Protocol::Http, message, vec![chain])
}

/// "Not modified" for who has the document already, then the document.
fn routes_of(name: &str, body: String) -> [Route; 2] {
    let etag: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let path = || RouteMatch { path_specifier: Some(PathSpecifier::Path(format!("/{name}"))), ..Default::default() };
    let seen = HeaderMatcher {
        name: "If-None-Match".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(etag.clone())),
            ..Default::default()
        })),
        ..Default::default()
    };
    let respond = |status, body: Option<String>| {
        Action::DirectResponse(DirectResponseAction {
            status,
            body: body.map(|text| DataSource { specifier: Some(Specifier::InlineString(text)), ..Default::default() }),
            ..Default::default()
        })
    };
    [
        Route {
            name: format!("{DYNAMIC_CONFIG}_{name}_not_modified"),
            r#match: Some(RouteMatch { headers: vec![seen], ..path() }),
            action: Some(respond(304, None)),
            ..Default::default()
        },
        Route {
            name: format!("{DYNAMIC_CONFIG}_{name}"),
            r#match: Some(path()),
            action: Some(respond(200, Some(body))),
            response_headers_to_add: vec![HeaderValueOption {
                header: Some(HeaderValue { key: "Etag".to_owned(), value: etag, ..Default::default() }),
                ..Default::default()
            }],
            ..Default::default()
        },
    ]
}
