//! Where a resource came from.

use std::fmt;

macro_rules! origins {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)*) => {
        /// Which generator or policy made a resource. The text is what MeshProxyPatch names as `origin`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Origin { $($(#[$doc])* $variant),* }

        impl Origin {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Kuma's name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

origins! {
    /// Envoy's admin interface and the readiness probe.
    Admin = "admin";
    /// Passthrough of transparently redirected traffic.
    Transparent = "transparent";
    /// The proxy's own inbounds.
    Inbound = "inbound";
    /// Destinations.
    Outbound = "outbound";
    /// Direct access to other dataplanes.
    DirectAccess = "direct-access";
    /// Zone ingress listeners.
    Ingress = "ingress";
    /// Zone egress listeners.
    Egress = "egress";
    /// Prometheus endpoints of MeshMetric.
    Prometheus = "prometheus";
    /// What kuma-dp fetches from its own Envoy.
    DynamicConfig = "dynamic-config";
    /// Identity certificates that the control plane issues.
    IdentityBundled = "IdentityBundled";
    /// The cluster of the local SPIRE agent.
    IdentitySpire = "mesh-identity-spire";
    /// Trust bundles.
    MeshTrust = "mesh-trust";
    /// OpenTelemetry backends of MeshMetric.
    OpenTelemetry = "open-telemetry";
    /// Backends of MeshAccessLog.
    MeshAccessLog = "meshaccesslog";
    /// Backends of MeshTrace.
    MeshTrace = "mesh-trace";
    /// What MeshPassthrough adds.
    MeshPassthrough = "meshpassthrough";
    /// Bypass to the Kubernetes API server.
    ApiServerBypass = "apiServerBypass";
    /// Clusters that MeshProxyPatch adds.
    ProxyTemplateModifications = "proxy-template-modifications";
    /// Listeners that MeshProxyPatch adds.
    MeshProxyPatch = "mesh-proxy-patch";
}

impl Origin {
    /// The origin with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|origin| origin.as_str() == name)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
