//! From file and environment to settings.

use std::path::Path;

use serde_json::Value;

use super::tree::Tree;
use super::typed::Settings;
use super::{SettingsError, validate};

/// Settings, and what the operator should hear of them.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) settings: Settings,
    /// Keys of the file that nothing reads, and other oddities.
    pub(crate) warnings: Vec<String>,
}

/// Loads the settings from a file, if one is given, and the environment.
///
/// # Errors
/// See [`SettingsError`]; all violations of rules come at once.
pub(crate) fn load(file: Option<&Path>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, SettingsError> {
    let mut tree = Tree::defaults();
    let Some(path) = file else {
        let warnings = Vec::new();
        return Ok(Loaded { settings: finish(tree, variable)?, warnings });
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|_| SettingsError::NoFile(name.clone()))?;
    let in_file = |cause: &dyn std::fmt::Display| SettingsError::File { file: name.clone(), cause: cause.to_string() };
    let document = read(&text).map_err(|e| in_file(&e))?;
    let unknown = tree.overlay(&document).map_err(|e| in_file(&e))?;
    let warnings = unknown.iter().map(|key| format!("unknown key {key} in {name}")).collect();
    let settings = finish(tree, variable).map_err(|e| in_file(&e))?;
    Ok(Loaded { settings, warnings })
}

fn read(text: &str) -> Result<Value, model::yaml::BadYaml> {
    if text.trim().is_empty() { Ok(Value::Null) } else { model::yaml::read(text) }
}

fn finish(mut tree: Tree, variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings, SettingsError> {
    tree.overlay_env(variable)?;
    derive(&mut tree);
    let violations = validate::all(&tree);
    if violations.is_empty() { Settings::from_tree(tree) } else { Err(SettingsError::Invalid(violations.join("; "))) }
}

/// Values that follow from others when nobody gave them.
fn derive(tree: &mut Tree) {
    if tree.number("bootstrapServer.params.xdsPort") == 0 {
        let port = tree.number("dpServer.port");
        tree.set("bootstrapServer.params.xdsPort", port.into());
    }
    if tree.text("dpServer.authn.dpProxy.type").is_empty() {
        let on_kubernetes = tree.text("environment") == "kubernetes";
        let kind = if on_kubernetes { "serviceAccountToken" } else { "dpToken" };
        tree.set("dpServer.authn.dpProxy.type", kind.into());
    }
    if tree.text("store.type") == "kubernetes" {
        tree.set("dpServer.authn.enableReloadableTokens", true.into());
    }
    for server in ["apiServer.https", "dpServer", "diagnostics", "monitoringAssignmentServer", "multizone.global.kds"] {
        if tree.text(&format!("{server}.tlsCertFile")).is_empty() {
            for key in ["tlsCertFile", "tlsKeyFile"] {
                let general = tree.text(&format!("general.{key}")).to_owned();
                tree.set(&format!("{server}.{key}"), general.into());
            }
        }
    }
}
