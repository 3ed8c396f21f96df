//! What `kuma-dp run` is configured with: defaults, then flags, then environment (Kuma's order:
//! a variable that is set wins over a flag).

pub(crate) mod env;
pub(crate) mod flags;
pub(crate) mod transparent_proxy;
mod validate;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

pub(crate) use transparent_proxy::TransparentProxy;

/// Everything that `kuma-dp run` can be told. Serialised for the log, with secrets masked.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    pub(crate) control_plane: ControlPlane,
    pub(crate) dataplane: Dataplane,
    pub(crate) dataplane_runtime: Runtime,
    pub(crate) dns: Dns,
    /// Port of the application probe proxy; 0 is off.
    pub(crate) application_probe_proxy_port: u32,
}

/// How to reach the control plane.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ControlPlane {
    pub(crate) url: String,
    /// PEM text; wins over the file.
    pub(crate) ca_cert: String,
    pub(crate) ca_cert_file: String,
    pub(crate) tls_skip_verify: bool,
    #[serde(serialize_with = "span")]
    pub(crate) retry_backoff: Duration,
    #[serde(serialize_with = "span")]
    pub(crate) retry_max_duration: Duration,
}

/// Which proxy this is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dataplane {
    pub(crate) mesh: String,
    pub(crate) name: String,
    pub(crate) proxy_type: String,
    #[serde(serialize_with = "span")]
    pub(crate) drain_time: Duration,
    pub(crate) readiness_port: u32,
    #[serde(serialize_with = "span")]
    pub(crate) resilient_component_base_backoff: Duration,
    #[serde(serialize_with = "span")]
    pub(crate) resilient_component_max_backoff: Duration,
}

/// How the proxy runs on this machine.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Runtime {
    pub(crate) binary_path: String,
    /// Empty: a fresh temporary directory.
    pub(crate) work_dir: String,
    /// Envoy's worker threads; 0 leaves it to the cpuset.
    pub(crate) concurrency: u32,
    pub(crate) dataplane_token_path: String,
    #[serde(serialize_with = "masked")]
    pub(crate) dataplane_token: String,
    pub(crate) resource: String,
    pub(crate) resource_path: String,
    pub(crate) resource_vars: BTreeMap<String, String>,
    pub(crate) envoy_log_level: String,
    pub(crate) envoy_component_log_level: String,
    /// Heap limit told to the control plane; 0 takes the cgroup's.
    pub(crate) max_memory_bytes: u64,
    pub(crate) metrics_cert_path: String,
    pub(crate) metrics_key_path: String,
    #[serde(serialize_with = "span")]
    pub(crate) dynamic_configuration_refresh_interval: Duration,
    pub(crate) system_ca_path: String,
    pub(crate) transparent_proxy: Option<TransparentProxy>,
    pub(crate) bind_outbounds: bool,
    #[serde(rename = "IPv6Enabled")]
    pub(crate) ipv6_enabled: bool,
    pub(crate) spire_supported: bool,
    pub(crate) spire_socket_path: String,
    pub(crate) strict_inbound_ports_enabled: bool,
    pub(crate) otel_pipe_enabled: bool,
    pub(crate) reuse_port_enabled: bool,
}

/// The embedded DNS server.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dns {
    pub(crate) enabled: bool,
    pub(crate) proxy_port: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            control_plane: ControlPlane {
                url: "https://localhost:5678".to_owned(),
                ca_cert: String::new(),
                ca_cert_file: String::new(),
                tls_skip_verify: false,
                retry_backoff: Duration::from_secs(3),
                retry_max_duration: Duration::from_secs(300),
            },
            dataplane: Dataplane {
                mesh: String::new(),
                name: String::new(),
                proxy_type: "dataplane".to_owned(),
                drain_time: Duration::from_secs(30),
                readiness_port: 9902,
                resilient_component_base_backoff: Duration::from_secs(5),
                resilient_component_max_backoff: Duration::from_secs(60),
            },
            dataplane_runtime: Runtime {
                binary_path: "envoy".to_owned(),
                work_dir: String::new(),
                concurrency: 0,
                dataplane_token_path: String::new(),
                dataplane_token: String::new(),
                resource: String::new(),
                resource_path: String::new(),
                resource_vars: BTreeMap::new(),
                envoy_log_level: String::new(),
                envoy_component_log_level: String::new(),
                max_memory_bytes: 0,
                metrics_cert_path: String::new(),
                metrics_key_path: String::new(),
                dynamic_configuration_refresh_interval: Duration::from_secs(1),
                system_ca_path: String::new(),
                transparent_proxy: None,
                bind_outbounds: false,
                ipv6_enabled: true,
                spire_supported: false,
                spire_socket_path: String::new(),
                strict_inbound_ports_enabled: true,
                otel_pipe_enabled: true,
                reuse_port_enabled: true,
            },
            dns: Dns { enabled: true, proxy_port: 15053 },
            application_probe_proxy_port: 0,
        }
    }
}

impl Settings {
    /// Whether the operator gave a Dataplane to register.
    pub(crate) fn has_resource(&self) -> bool {
        !self.dataplane_runtime.resource.is_empty() || !self.dataplane_runtime.resource_path.is_empty()
    }

    /// On Kubernetes an unusable name becomes `<pod>.<namespace>`.
    pub(crate) fn complete_name(&mut self, lookup: impl Fn(&str) -> Option<String>) {
        let name = &self.dataplane.name;
        let unusable = name.is_empty() || name.contains(['$', '(', ')', '{', '}']);
        if let (true, Some(pod), Some(namespace)) = (unusable, lookup("POD_NAME"), lookup("POD_NAMESPACE"))
            && !pod.is_empty()
        {
            self.dataplane.name = format!("{pod}.{namespace}");
        }
    }
}

fn masked<S: Serializer>(secret: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.is_empty() { "" } else { "*****" })
}

fn span<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{duration:?}"))
}
