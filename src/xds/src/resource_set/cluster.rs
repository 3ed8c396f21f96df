//! A cluster whose HTTP options stay typed until it is packed.

use super::Origin;
use crate::envoy::cluster::Cluster;
use crate::envoy::{pack, unpack, upstream_http::HttpProtocolOptions};
use crate::names::Kri;
use crate::protocol::Protocol;

/// The name under which Envoy finds HTTP options among a cluster's extension options.
pub const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// One cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterResource {
    /// Which generator or policy made it.
    pub origin: Origin,
    /// The destination port that it reaches; `None` where there is none.
    pub destination: Option<Kri>,
    /// Protocol of the destination port.
    pub protocol: Protocol,
    /// The message, without [`Self::http_options`].
    pub cluster: Cluster,
    /// Its `HttpProtocolOptions`; `None` when it has none.
    pub http_options: Option<Box<HttpProtocolOptions>>,
}

impl ClusterResource {
    /// A cluster that is no destination's.
    pub fn new(origin: Origin, cluster: Cluster) -> Self {
        Self::unpack(origin, None, Protocol::default(), cluster)
    }

    /// The inverse of [`Self::pack`].
    pub fn unpack(origin: Origin, destination: Option<Kri>, protocol: Protocol, mut cluster: Cluster) -> Self {
        let http_options = cluster.typed_extension_protocol_options.get(HTTP_OPTIONS).and_then(unpack).map(Box::new);
        if http_options.is_some() {
            cluster.typed_extension_protocol_options.remove(HTTP_OPTIONS);
        }
        Self { origin, destination, protocol, cluster, http_options }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.cluster.name
    }

    /// Its HTTP options, made when it has none.
    pub fn http_options_mut(&mut self) -> &mut HttpProtocolOptions {
        self.http_options.get_or_insert_default()
    }

    /// The plain message.
    pub fn pack(self) -> Cluster {
        let mut cluster = self.cluster;
        if let Some(options) = self.http_options {
            cluster.typed_extension_protocol_options.insert(HTTP_OPTIONS.to_owned(), pack(&*options));
        }
        cluster
    }
}
