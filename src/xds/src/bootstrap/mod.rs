//! How a proxy starts: the request of `kuma-dp`, the Envoy bootstrap that answers it, and the node
//! metadata by which the started Envoy introduces itself on every stream.

mod feature;
mod metadata;
mod transparent_proxy;
mod version;

pub use feature::Feature;
pub use metadata::{MetadataError, OtelEnvInventory, OtelSignalEnv, ProxyMetadata};
pub use transparent_proxy::{IpFamilyMode, Redirect, RedirectPort, TransparentProxyConfig, Vnet};
pub use version::{EnvoyVersion, KumaDpVersion, ProxyVersion, is_compatible};
