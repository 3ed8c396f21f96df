//! What a proxy says it can do.

/// A feature flag of `kuma-dp`. Flags that this build does not know are kept as text and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Access logs go through a named pipe; always assumed.
    TcpAccessLogViaNamedPipe,
    /// OpenTelemetry backends are reached through sockets of `kuma-dp`.
    OtelViaKumaDp,
    /// The transparent-proxy configuration stands in the node metadata.
    TransparentProxyInMetadata,
    /// Outbound listeners bind their own address without transparent proxying.
    BindOutbounds,
    /// A SPIRE agent's socket is mounted.
    Spire,
    /// Inbound passthrough is restricted to declared ports in strict mode.
    StrictInboundPorts,
    /// Inbound listeners set `enable_reuse_port`.
    ReusePort,
    /// Readiness is reported on a unix socket (older `kuma-dp` only).
    ReadinessUnixSocket,
}

impl Feature {
    /// The flag on the wire.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::TcpAccessLogViaNamedPipe => "feature-tcp-accesslog-via-named-pipe",
            Self::OtelViaKumaDp => "feature-otel-via-kuma-dp",
            Self::TransparentProxyInMetadata => "feature-transparent-proxy-in-dataplane-metadata",
            Self::BindOutbounds => "feature-bind-outbounds",
            Self::Spire => "feature-spire",
            Self::StrictInboundPorts => "feature-strict-inbound-ports",
            Self::ReusePort => "feature-reuse-port",
            Self::ReadinessUnixSocket => "feature-readiness-unix-socket",
        }
    }
}
