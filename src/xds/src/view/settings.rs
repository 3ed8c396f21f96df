//! What of the control plane's own settings shapes the picture of a mesh.

use std::sync::Arc;

use crate::generators::internal_addresses::InternalAddresses;

/// Where this control plane stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// In a zone: it serves proxies.
    #[default]
    Zone,
    /// Above the zones: it serves none, and its views are for inspection only.
    Global,
}

/// The control plane's settings that views and generation depend on. They do not change while it
/// runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSettings {
    /// Name of the zone.
    pub zone: Arc<str>,
    /// Where the control plane stands.
    pub mode: Mode,
    /// Whether dataplanes are Pods.
    pub kubernetes: bool,
    /// Source addresses that count as internal.
    pub internal_addresses: InternalAddresses,
    /// Socket of the SPIRE agent, for proxies that do not name their own.
    pub spire_socket_path: String,
}

impl Default for ViewSettings {
    fn default() -> Self {
        Self {
            zone: "default".into(),
            mode: Mode::Zone,
            kubernetes: false,
            internal_addresses: InternalAddresses::default(),
            spire_socket_path: "/tmp/spire-agent/public/api.sock".to_owned(),
        }
    }
}
