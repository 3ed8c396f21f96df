//! kumactl's own configuration: which control planes there are, and which one is used.

pub(crate) mod commands;
mod file;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

pub(crate) use file::ConfigFile;

/// The configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Config {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contexts: Vec<Context>,
    #[serde(alias = "control_planes", skip_serializing_if = "Vec::is_empty")]
    pub(crate) control_planes: Vec<ControlPlane>,
    #[serde(alias = "current_context", skip_serializing_if = "String::is_empty")]
    pub(crate) current_context: String,
}

/// A way to use a control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Context {
    pub(crate) name: String,
    #[serde(alias = "control_plane", skip_serializing_if = "String::is_empty")]
    pub(crate) control_plane: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) defaults: Option<serde_json::Value>,
}

/// A control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ControlPlane {
    pub(crate) name: String,
    pub(crate) coordinates: Coordinates,
}

/// Where a control plane is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Coordinates {
    #[serde(alias = "api_server")]
    pub(crate) api_server: ApiServer,
}

/// Its API server, and how to be let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ApiServer {
    pub(crate) url: String,
    #[serde(alias = "ca_cert_file", skip_serializing_if = "String::is_empty")]
    pub(crate) ca_cert_file: String,
    #[serde(alias = "client_cert_file", skip_serializing_if = "String::is_empty")]
    pub(crate) client_cert_file: String,
    #[serde(alias = "client_key_file", skip_serializing_if = "String::is_empty")]
    pub(crate) client_key_file: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<Header>,
    #[serde(alias = "auth_type", skip_serializing_if = "String::is_empty")]
    pub(crate) auth_type: String,
    #[serde(alias = "auth_conf", skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub(crate) auth_conf: std::collections::BTreeMap<String, String>,
    #[serde(alias = "skip_verify", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) skip_verify: bool,
}

/// A header that is added to every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) key: String,
    pub(crate) value: String,
}

const NOT_SET: &str = "active Control Plane is not set. Use `kumactl config control-planes add` to add a Control Plane and make it active";
const BROKEN: &str = "apparently, configuration is broken. Use `kumactl config control-planes add` to add a Control \
                      Plane and make it active";

impl Config {
    /// What is used when there is no configuration: a control plane on this machine.
    pub(crate) fn local() -> Self {
        let name = "local".to_owned();
        Self {
            contexts: vec![Context { name: name.clone(), control_plane: name.clone(), defaults: None }],
            control_planes: vec![ControlPlane {
                name: name.clone(),
                coordinates: Coordinates {
                    api_server: ApiServer { url: "http://localhost:5681".to_owned(), ..ApiServer::default() },
                },
            }],
            current_context: name,
        }
    }

    /// The control plane in use; `named`, when not empty, takes the place of the current one.
    ///
    /// # Errors
    /// When none is active, or the configuration names one that is not there.
    pub(crate) fn active(&self, named: &str) -> Result<&ControlPlane> {
        if self.current_context.is_empty() {
            bail!(NOT_SET);
        }
        let Some(context) = self.contexts.iter().find(|c| c.name == self.current_context) else { bail!(BROKEN) };
        let name = if named.is_empty() { &context.control_plane } else { named };
        match self.control_planes.iter().find(|cp| cp.name == *name) {
            Some(control_plane) => Ok(control_plane),
            None => bail!(BROKEN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_control_plane_is_that_of_the_current_context() {
        let mut config = Config::local();
        assert_eq!(config.active("").unwrap().coordinates.api_server.url, "http://localhost:5681");
        assert_eq!(config.active("other").unwrap_err().to_string(), BROKEN);
        config.current_context.clear();
        assert_eq!(config.active("").unwrap_err().to_string(), NOT_SET);
    }
}
