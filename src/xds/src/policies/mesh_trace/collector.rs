//! Tracers of Envoy, and the clusters of what they send to.

use std::time::Duration;

use model::kinds::mesh_trace::{Backend, Datadog, OtelBackend, Zipkin};

use super::super::ProxyTraits;
use super::super::otel::{BackendRef, Collector, clean_name, collector_cluster, is_piped};
use crate::envoy::core::grpc_service::{EnvoyGrpc, TargetSpecifier};
use crate::envoy::core::{GrpcService, HttpService, HttpUri, http_uri};
use crate::envoy::tls::UpstreamTlsContext;
use crate::envoy::{Any, BoolValue, duration, pack};
use crate::generators::tls::transport_socket;
use crate::resource_set::{ClusterResource, Origin};
use envoy_types::pb::envoy::config::trace::v3::{
    DatadogConfig, OpenTelemetryConfig, ZipkinConfig, tracing::Http, tracing::http::ConfigType, zipkin_config,
};

/// Port of a collector that speaks HTTP over TLS.
const HTTPS_PORT: u16 = 443;

/// A tracer: what it is told, and the cluster that it sends to.
#[derive(Debug)]
pub(super) struct Tracer {
    kind: Kind,
    /// The cluster of its collector.
    pub(super) cluster: ClusterResource,
}

#[derive(Debug)]
enum Kind {
    Zipkin(Box<ZipkinConfig>),
    Datadog { is_split: bool },
    OtelGrpc,
    OtelHttp { uri: String },
}

/// An absolute URL, as far as tracers need it.
struct Url {
    is_tls: bool,
    /// Host with its port, when the URL gives one.
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let default_port = if is_tls { HTTPS_PORT } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        (!host.is_empty()).then(|| Self { is_tls, authority: authority.to_owned(), host, port, path: path.to_owned() })
    }
}

impl Tracer {
    /// The tracer of a backend; `None` when its collector does not exist.
    ///
    /// # Errors
    /// When its address cannot be read.
    pub(super) fn of(backend: &Backend, proxy: &ProxyTraits<'_>) -> Result<Option<Self>, String> {
        match (&backend.zipkin, &backend.datadog, &backend.open_telemetry) {
            (Some(zipkin), _, _) => Self::zipkin(zipkin, proxy).map(Some),
            (_, Some(datadog), _) => Self::datadog(datadog, proxy).map(Some),
            (_, _, Some(otel)) => Ok(Self::otel(otel, proxy)),
            (None, None, None) => Ok(None),
        }
    }

    fn zipkin(conf: &Zipkin, proxy: &ProxyTraits<'_>) -> Result<Self, String> {
        let url = Url::parse(&conf.url).ok_or_else(|| format!("invalid URL of Zipkin: {}", conf.url))?;
        let name = format!("system_meshtrace_zipkin_{}", clean_name(&conf.url));
        let mut cluster = collector_cluster(&name, &url.host, url.port, proxy);
        if url.is_tls {
            let context = UpstreamTlsContext { sni: url.host.clone(), ..Default::default() };
            cluster.transport_socket = Some(transport_socket(&context));
        }
        let version = match conf.api_version.as_deref() {
            Some("httpProto") => zipkin_config::CollectorEndpointVersion::HttpProto,
            Some(_) | None => zipkin_config::CollectorEndpointVersion::HttpJson,
        };
        let config = ZipkinConfig {
            collector_cluster: name,
            collector_endpoint: url.path,
            collector_endpoint_version: version.into(),
            collector_hostname: url.authority,
            trace_id_128bit: conf.trace_id_128_bit.unwrap_or_default(),
            shared_span_context: Some(BoolValue { value: conf.shared_span_context.unwrap_or(true) }),
            ..Default::default()
        };
        let cluster = ClusterResource::new(Origin::MeshTrace, cluster);
        Ok(Self { kind: Kind::Zipkin(Box::new(config)), cluster })
    }

    fn datadog(conf: &Datadog, proxy: &ProxyTraits<'_>) -> Result<Self, String> {
        let url = Url::parse(&conf.url).ok_or_else(|| format!("invalid URL of Datadog: {}", conf.url))?;
        let name = format!("system_meshtrace_datadog_{}", clean_name(&conf.url));
        let cluster = collector_cluster(&name, &url.host, url.port, proxy);
        let cluster = ClusterResource::new(Origin::MeshTrace, cluster);
        Ok(Self { kind: Kind::Datadog { is_split: conf.split_service.unwrap_or_default() }, cluster })
    }

    fn otel(conf: &OtelBackend, proxy: &ProxyTraits<'_>) -> Option<Self> {
        let reference = conf.backend_ref.as_ref()?;
        let labels = reference.labels.clone().unwrap_or_default();
        let collector = Collector::find(proxy, &BackendRef { labels })?;
        let name = format!("system_meshtrace_otel_{}", clean_name(&collector.name));
        let mut cluster = collector.cluster(&name, Origin::MeshTrace, proxy);
        if is_piped(proxy) || !collector.is_http {
            return Some(Self { kind: Kind::OtelGrpc, cluster });
        }
        let is_tls = collector.port == HTTPS_PORT;
        if is_tls {
            let context = UpstreamTlsContext { sni: collector.address.clone(), ..Default::default() };
            cluster.cluster.transport_socket = Some(transport_socket(&context));
        }
        let scheme = if is_tls { "https" } else { "http" };
        let base = collector.path.trim_matches('/');
        let base = if base.is_empty() { String::new() } else { format!("/{base}") };
        let uri = format!("{scheme}://{}:{}{base}/v1/traces", collector.address, collector.port);
        Some(Self { kind: Kind::OtelHttp { uri }, cluster })
    }

    /// The tracer's configuration for one listener.
    pub(super) fn provider(&self, service: &str, suffix: &str) -> Http {
        let cluster = self.cluster.name().to_owned();
        let otel =
            |config: OpenTelemetryConfig| pack(&OpenTelemetryConfig { service_name: service.to_owned(), ..config });
        let (name, config): (&str, Any) = match &self.kind {
            Kind::Zipkin(config) => ("envoy.tracers.zipkin", pack(&**config)),
            Kind::Datadog { is_split } => {
                let service_name = if *is_split { format!("{service}{suffix}") } else { service.to_owned() };
                let config = DatadogConfig { collector_cluster: cluster, service_name, ..Default::default() };
                ("envoy.tracers.datadog", pack(&config))
            }
            Kind::OtelGrpc => {
                let envoy_grpc = EnvoyGrpc { cluster_name: cluster, ..Default::default() };
                let grpc_service = GrpcService {
                    target_specifier: Some(TargetSpecifier::EnvoyGrpc(envoy_grpc)),
                    ..Default::default()
                };
                let config = OpenTelemetryConfig { grpc_service: Some(grpc_service), ..Default::default() };
                ("envoy.tracers.opentelemetry", otel(config))
            }
            Kind::OtelHttp { uri } => {
                let http_uri = HttpUri {
                    uri: uri.clone(),
                    timeout: Some(duration(Duration::from_secs(10))),
                    http_upstream_type: Some(http_uri::HttpUpstreamType::Cluster(cluster)),
                };
                let http_service = HttpService { http_uri: Some(http_uri), ..Default::default() };
                let config = OpenTelemetryConfig { http_service: Some(http_service), ..Default::default() };
                ("envoy.tracers.opentelemetry", otel(config))
            }
        };
        Http { name: name.to_owned(), config_type: Some(ConfigType::TypedConfig(config)) }
    }
}
