//! The Dataplane that kuma-dp registers: read, rendered, parsed.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::settings::Settings;

/// Go's zero time, which kuma-dp sends where a resource has none yet.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// A Dataplane given by the operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataplaneResource {
    pub(crate) mesh: String,
    pub(crate) name: String,
    /// Its REST form as JSON text.
    pub(crate) json: String,
    /// `networking.address`, as far as it is a text.
    pub(crate) address: Option<String>,
}

/// Reads, renders and parses the Dataplane of the settings; `None` when none is given.
///
/// # Errors
/// What cannot be read, rendered or parsed, or is no Dataplane; a name or mesh given beside it.
pub(crate) fn load(settings: &Settings) -> Result<Option<DataplaneResource>> {
    let runtime = &settings.dataplane_runtime;
    let template = if runtime.resource_path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("error while reading provided file: standard input")?;
        text
    } else if !runtime.resource_path.is_empty() {
        std::fs::read_to_string(&runtime.resource_path)
            .with_context(|| format!("error while reading provided file: {}", runtime.resource_path))?
    } else {
        runtime.resource.clone()
    };
    if template.trim().is_empty() {
        return Ok(None);
    }
    if !settings.dataplane.name.is_empty() || !settings.dataplane.mesh.is_empty() {
        bail!(
            "--name and --mesh cannot be specified when a dataplane definition is provided, mesh and name will be read \
             from the dataplane definition"
        );
    }
    parse(&template, &runtime.resource_vars).map(Some)
}

fn parse(template: &str, variables: &BTreeMap<String, String>) -> Result<DataplaneResource> {
    let text = model::mustache::render(template, variables).context("could not render the dataplane template")?;
    tracing::info!(dataplane = %text, "rendered dataplane");
    let value: Value = serde_saphyr::from_str(&text).context("the dataplane is not valid YAML or JSON")?;
    let Value::Object(mut fields) = value else {
        bail!("the dataplane is not a YAML mapping");
    };
    let ty = text_field(&mut fields, "type")?;
    if ty != "Dataplane" {
        bail!("invalid proxy resource type {ty:?}, expected Dataplane");
    }
    let mesh = text_field(&mut fields, "mesh")?;
    let name = text_field(&mut fields, "name")?;
    check_name(&mesh, &name)?;
    let address = fields.get("networking").and_then(|n| n.get("address")).and_then(Value::as_str).map(str::to_owned);
    for computed in ["creationTime", "modificationTime", "kri"] {
        fields.remove(computed);
    }
    let mut rest = json!({
        "type": ty, "mesh": mesh, "name": name, "creationTime": ZERO_TIME, "modificationTime": ZERO_TIME,
    });
    if let Value::Object(head) = &mut rest {
        head.extend(fields);
    }
    Ok(DataplaneResource { mesh, name, json: rest.to_string(), address })
}

fn text_field(fields: &mut Map<String, Value>, name: &str) -> Result<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => bail!("dataplane: {name}: expected a text, got {other}"),
        None => bail!("dataplane: {name}: cannot be empty"),
    }
}

/// The syntax of names and meshes; the control plane checks the rest.
fn check_name(mesh: &str, name: &str) -> Result<()> {
    let mut faults = model::names::check_name(name);
    faults.append(model::names::check_mesh(mesh));
    if !faults.is_empty() {
        bail!("dataplane: {faults}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with(template: &str, variables: &[(&str, &str)]) -> Result<DataplaneResource> {
        parse(template, &variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_template_becomes_a_rest_document() {
        let resource = parse_with(
            "type: Dataplane\nmesh: demo\nname: {{ name }}\nlabels: {a: b}\nnetworking: {address: {{ address }}}\n",
            &[("name", "web-1"), ("address", "10.0.0.1")],
        )
        .unwrap();
        assert_eq!((resource.mesh.as_str(), resource.name.as_str()), ("demo", "web-1"));
        assert_eq!(resource.address.as_deref(), Some("10.0.0.1"));
        let json: Value = serde_json::from_str(&resource.json).unwrap();
        assert_eq!(json["creationTime"], ZERO_TIME);
        assert_eq!(json["labels"]["a"], "b");
        assert_eq!(json["networking"]["address"], "10.0.0.1");
    }

    #[test]
    fn other_types_and_bad_names_are_refused() {
        let error = |t: &str| parse_with(t, &[]).unwrap_err().to_string();
        assert_eq!(
            error("type: Mesh\nname: x\nmesh: default"),
            "invalid proxy resource type \"Mesh\", expected Dataplane"
        );
        assert!(error("type: Dataplane\nname: Web\nmesh: default").starts_with("dataplane: name: invalid"));
        assert_eq!(error("type: Dataplane\nname: web"), "dataplane: mesh: cannot be empty");
        assert!(error("a: [").starts_with("the dataplane is not valid YAML"));
    }

    #[test]
    fn a_name_beside_a_resource_is_refused() {
        let mut settings = Settings::default();
        settings.dataplane_runtime.resource = "type: Dataplane".to_owned();
        settings.dataplane.name = "web".to_owned();
        assert!(load(&settings).unwrap_err().to_string().starts_with("--name and --mesh cannot be specified"));
    }
}
