//! What kuma-dp needs to know of transparent proxying: the part of the installer's configuration
//! that is told to the control plane.

use std::io::Read;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The section `dataplaneConfig` of a bootstrap request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TransparentProxy {
    /// `dualstack` or `ipv4`.
    pub(crate) ip_family_mode: String,
    /// What is redirected to where.
    pub(crate) redirect: Redirect,
}

/// Redirections by direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Redirect {
    #[serde(default = "inbound")]
    pub(crate) inbound: Port,
    #[serde(default = "outbound")]
    pub(crate) outbound: Port,
    pub(crate) dns: Port,
    pub(crate) vnet: Vnet,
}

/// One redirection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Port {
    pub(crate) enabled: bool,
    pub(crate) port: u32,
}

/// Virtual networks whose traffic is redirected too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Vnet {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) networks: Vec<String>,
}

fn inbound() -> Port {
    Port { enabled: true, port: 15006 }
}

fn outbound() -> Port {
    Port { enabled: true, port: 15001 }
}

impl Default for TransparentProxy {
    fn default() -> Self {
        Self {
            ip_family_mode: "dualstack".to_owned(),
            redirect: Redirect { inbound: inbound(), outbound: outbound(), ..Redirect::default() },
        }
    }
}

impl TransparentProxy {
    /// The defaults with each file merged over them, in order; `-` is standard input. Keys that
    /// kuma-dp does not need are ignored.
    ///
    /// # Errors
    /// A file that cannot be read or that is not such a configuration.
    pub(crate) fn load(files: &[String]) -> Result<Self> {
        let mut merged = serde_json::to_value(Self::default())?;
        for file in files {
            let text = if file == "-" {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("could not read standard input")?;
                text
            } else {
                std::fs::read_to_string(file).with_context(|| {
                    format!(
                        "unable to access configuration file '{file}', please check if the file exists and has the \
                         correct permissions"
                    )
                })?
            };
            let layer: Value = serde_saphyr::from_str(&text)
                .with_context(|| format!("transparent proxy configuration {file} is not valid YAML"))?;
            merge(&mut merged, layer);
        }
        serde_json::from_value(merged).context("transparent proxy configuration has a field of the wrong type")
    }
}

/// Lays `layer` over `base`: objects merge, everything else is replaced.
fn merge(base: &mut Value, layer: Value) {
    match (base, layer) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(layer)) => {
            for (key, value) in layer {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, layer) => *base = layer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_files_lie_over_earlier_ones_and_over_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let first = file("a.yaml", "kumaDPUser: me\nredirect: {inbound: {port: 1}, outbound: {port: 2}}\n");
        let second = file("b.yaml", "ipFamilyMode: ipv4\nredirect: {inbound: {enabled: false}}\n");
        let config = TransparentProxy::load(&[first, second]).unwrap();
        assert_eq!(config.ip_family_mode, "ipv4");
        assert_eq!(config.redirect.inbound, Port { enabled: false, port: 1 });
        assert_eq!(config.redirect.outbound, Port { enabled: true, port: 2 });
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = TransparentProxy::load(&["/nowhere/x.yaml".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("unable to access configuration file '/nowhere/x.yaml'"), "{error}");
    }
}
