//! How a proxy starts: the request of `kuma-dp`, the Envoy bootstrap that answers it, and the node
//! metadata by which the started Envoy introduces itself on every stream.

mod feature;
mod generate;
mod metadata;
mod request;
mod transparent_proxy;
mod version;

pub use feature::Feature;
pub use generate::{BootstrapParams, Proxy, generate};
pub use metadata::{MetadataError, OtelEnvInventory, OtelSignalEnv, ProxyMetadata};
pub use request::{BootstrapRequest, MetricsResources, SpireResources};
pub use transparent_proxy::{IpFamilyMode, Redirect, RedirectPort, TransparentProxyConfig, Vnet};
pub use version::{EnvoyVersion, KumaDpVersion, ProxyVersion, is_compatible};
