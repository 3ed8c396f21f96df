//! A listener whose filter chains stay typed until it is packed.

use super::Origin;
use crate::envoy::core::{TrafficDirection, address, socket_address};
use crate::envoy::hcm::http_connection_manager::RouteSpecifier;
use crate::envoy::hcm::{HttpConnectionManager, HttpFilter, http_filter};
use crate::envoy::listener::filter::ConfigType;
use crate::envoy::listener::{Filter, FilterChain, Listener};
use crate::envoy::route::{Route, RouteConfiguration};
use crate::envoy::tcp_proxy::TcpProxy;
use crate::envoy::{Any, pack, unpack};
use crate::names::Kri;
use crate::protocol::Protocol;

/// Name of the HTTP connection manager filter.
pub const HTTP_CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
/// Name of the TCP proxy filter.
pub const TCP_PROXY: &str = "envoy.filters.network.tcp_proxy";

/// A network filter with its configuration still typed where policies edit it.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a plain filter is small enough; a box would cost an allocation each")]
pub enum NetworkFilter {
    /// HTTP connection manager, under its canonical name.
    Hcm(Box<HttpConnectionManager>),
    /// TCP proxy, under its canonical name.
    TcpProxy(Box<TcpProxy>),
    /// Any other filter.
    Other(Filter),
}

impl NetworkFilter {
    /// A filter that is neither connection manager nor TCP proxy.
    pub fn other(name: &str, config: Any) -> Self {
        Self::Other(Filter { name: name.to_owned(), config_type: Some(ConfigType::TypedConfig(config)) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Hcm(_) => HTTP_CONNECTION_MANAGER,
            Self::TcpProxy(_) => TCP_PROXY,
            Self::Other(filter) => &filter.name,
        }
    }

    /// The plain message.
    pub fn pack(self) -> Filter {
        let named =
            |name: &str, config| Filter { name: name.to_owned(), config_type: Some(ConfigType::TypedConfig(config)) };
        match self {
            Self::Hcm(hcm) => named(HTTP_CONNECTION_MANAGER, pack(&*hcm)),
            Self::TcpProxy(tcp) => named(TCP_PROXY, pack(&*tcp)),
            Self::Other(filter) => filter,
        }
    }

    /// The inverse of [`Self::pack`].
    pub fn unpack(filter: Filter) -> Self {
        let Some(ConfigType::TypedConfig(config)) = &filter.config_type else {
            return Self::Other(filter);
        };
        match filter.name.as_str() {
            HTTP_CONNECTION_MANAGER => {
                unpack(config).map_or(Self::Other(filter.clone()), |hcm| Self::Hcm(Box::new(hcm)))
            }
            TCP_PROXY => unpack(config).map_or(Self::Other(filter.clone()), |tcp| Self::TcpProxy(Box::new(tcp))),
            _ => Self::Other(filter),
        }
    }
}

/// A filter chain with its filters kept typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// The message without its filters: match, name, transport socket.
    pub chain: FilterChain,
    /// Its filters, in order.
    pub filters: Vec<NetworkFilter>,
}

impl Chain {
    /// A chain of these filters that matches every connection.
    pub fn of(filters: Vec<NetworkFilter>) -> Self {
        Self { chain: FilterChain::default(), filters }
    }

    /// Its HTTP connection manager.
    pub fn hcm_mut(&mut self) -> Option<&mut HttpConnectionManager> {
        self.filters.iter_mut().find_map(|filter| match filter {
            NetworkFilter::Hcm(hcm) => Some(&mut **hcm),
            NetworkFilter::TcpProxy(_) | NetworkFilter::Other(_) => None,
        })
    }

    /// Its TCP proxy.
    pub fn tcp_proxy_mut(&mut self) -> Option<&mut TcpProxy> {
        self.filters.iter_mut().find_map(|filter| match filter {
            NetworkFilter::TcpProxy(tcp) => Some(&mut **tcp),
            NetworkFilter::Hcm(_) | NetworkFilter::Other(_) => None,
        })
    }

    /// The plain message.
    pub fn pack(self) -> FilterChain {
        FilterChain { filters: self.filters.into_iter().map(NetworkFilter::pack).collect(), ..self.chain }
    }

    /// The inverse of [`Self::pack`].
    pub fn unpack(mut chain: FilterChain) -> Self {
        let filters = std::mem::take(&mut chain.filters).into_iter().map(NetworkFilter::unpack).collect();
        Self { chain, filters }
    }
}

/// One listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerResource {
    /// Which generator or policy made it.
    pub origin: Origin,
    /// The destination port that it leads to; `None` for listeners that are no outbounds.
    pub destination: Option<Kri>,
    /// Protocol of the destination port, or of the inbound.
    pub protocol: Protocol,
    /// The message, without its filter chains.
    pub listener: Listener,
    /// Its filter chains, in order.
    pub chains: Vec<Chain>,
}

impl ListenerResource {
    /// A listener that is no destination's.
    pub fn new(origin: Origin, protocol: Protocol, listener: Listener, chains: Vec<Chain>) -> Self {
        Self { origin, destination: None, protocol, listener, chains }
    }

    /// The inverse of [`Self::pack`].
    pub fn unpack(origin: Origin, destination: Option<Kri>, protocol: Protocol, mut listener: Listener) -> Self {
        let chains = std::mem::take(&mut listener.filter_chains).into_iter().map(Chain::unpack).collect();
        Self { origin, destination, protocol, listener, chains }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.listener.name
    }

    /// Its address and port; `None` when it listens on no TCP port.
    pub fn address(&self) -> Option<(&str, u16)> {
        let Some(address::Address::SocketAddress(socket)) = &self.listener.address.as_ref()?.address else {
            return None;
        };
        let Some(socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else {
            return None;
        };
        Some((&socket.address, u16::try_from(port).ok()?))
    }

    /// Whether its traffic direction is inbound.
    pub fn is_inbound_direction(&self) -> bool {
        self.listener.traffic_direction == i32::from(TrafficDirection::Inbound)
    }

    /// The HTTP connection managers of all its chains.
    pub fn hcms_mut(&mut self) -> impl Iterator<Item = &mut HttpConnectionManager> {
        self.chains.iter_mut().filter_map(Chain::hcm_mut)
    }

    /// The TCP proxies of all its chains.
    pub fn tcp_proxies_mut(&mut self) -> impl Iterator<Item = &mut TcpProxy> {
        self.chains.iter_mut().filter_map(Chain::tcp_proxy_mut)
    }

    /// The inline route configurations of all its chains.
    pub fn route_configs_mut(&mut self) -> impl Iterator<Item = &mut RouteConfiguration> {
        self.hcms_mut().filter_map(route_config_mut)
    }

    /// The routes of all its chains, in order.
    pub fn routes_mut(&mut self) -> impl Iterator<Item = &mut Route> {
        self.hcms_mut().flat_map(routes_mut)
    }

    /// The plain message.
    pub fn pack(self) -> Listener {
        Listener { filter_chains: self.chains.into_iter().map(Chain::pack).collect(), ..self.listener }
    }
}

/// The inline route configuration of a connection manager.
pub fn route_config_mut(hcm: &mut HttpConnectionManager) -> Option<&mut RouteConfiguration> {
    match &mut hcm.route_specifier {
        Some(RouteSpecifier::RouteConfig(config)) => Some(config),
        Some(RouteSpecifier::Rds(_) | RouteSpecifier::ScopedRoutes(_)) | None => None,
    }
}

/// The routes of a connection manager, in order.
pub fn routes_mut(hcm: &mut HttpConnectionManager) -> impl Iterator<Item = &mut Route> {
    route_config_mut(hcm).into_iter().flat_map(|config| &mut config.virtual_hosts).flat_map(|host| &mut host.routes)
}

/// Puts an HTTP filter before all others.
pub fn add_http_filter_first(hcm: &mut HttpConnectionManager, name: &str, config: Any) {
    hcm.http_filters.insert(0, http_filter_of(name, config));
}

/// Puts an HTTP filter after all others but before the router, which ends the chain.
pub fn add_http_filter_last(hcm: &mut HttpConnectionManager, name: &str, config: Any) {
    let filters = &mut hcm.http_filters;
    let end = filters.iter().position(|filter| filter.name == "envoy.filters.http.router").unwrap_or(filters.len());
    filters.insert(end, http_filter_of(name, config));
}

/// An HTTP filter with this configuration.
pub fn http_filter_of(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}
