//! `kumactl apply`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use model::codec::DecodeError;
use model::document::{Submission, render};
use model::registry::by_name;
use model::{Document, Form, Key, Kind, Meta, Resource, Scope, Timestamp};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::ApplyFlags;
use crate::client::{ApiError, Client};
use crate::key_values;
use crate::output::resource_yaml;
use crate::resources::item_path;

/// How long fetching a URL may take.
const URL_TIMEOUT: Duration = Duration::from_secs(10);

/// Creates or replaces the resources of a file; nothing is applied unless all of them are valid.
///
/// # Errors
/// What cannot be read, is not valid, or is refused by the control plane.
pub(crate) async fn run(flags: &ApplyFlags, client: Result<Client>) -> Result<()> {
    let text = read(&flags.file).await?;
    if text.trim().is_empty() {
        bail!("no resource(s) passed to apply");
    }
    let resources = parse_all(&text, &key_values::parse(&flags.vars)?)?;
    if flags.dry_run {
        let shown: Vec<_> = resources.iter().map(show).collect::<Result<_>>()?;
        print!("{}", shown.join("---\n"));
        return Ok(());
    }
    let client = client?;
    crate::version::check(&client).await;
    for resource in &resources {
        let outcome = apply(resource, &client).await;
        let described = describe(resource);
        match outcome {
            Ok(done) => {
                println!("{described} {}", done.verb);
                for warning in done.warnings {
                    eprintln!("Warning: {warning}");
                }
            }
            Err(error) => bail!("{described}: failed server side: {}", refusal(&error)),
        }
    }
    Ok(())
}

/// The text of a file, a folder, a URL or standard input.
pub(crate) async fn read(source: &str) -> Result<String> {
    if source == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("error while reading standard input")?;
        return Ok(text);
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        return fetch(source).await;
    }
    let path = Path::new(source);
    if path.is_dir() {
        return read_folder(path);
    }
    std::fs::read_to_string(path).with_context(|| format!("error while reading provided file: {source}"))
}

async fn fetch(url: &str) -> Result<String> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let client = reqwest::Client::builder().timeout(URL_TIMEOUT).build()?;
    let response = client.get(url).send().await.with_context(|| format!("error while retrieving URL {url}"))?;
    if response.status().as_u16() != 200 {
        bail!("error while retrieving URL {url}: it answered {}", response.status());
    }
    response.text().await.with_context(|| format!("error while retrieving URL {url}"))
}

/// All YAML and JSON files of a folder, by path, as one text.
fn read_folder(path: &Path) -> Result<String> {
    let entries =
        std::fs::read_dir(path).with_context(|| format!("error while reading provided file: {}", path.display()))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.is_file())
        .filter(|file| {
            let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
            matches!(extension.as_str(), "yaml" | "yml" | "json")
        })
        .collect();
    files.sort();
    let texts: Vec<_> = files
        .iter()
        .map(|file| {
            std::fs::read_to_string(file)
                .with_context(|| format!("error while reading provided file: {}", file.display()))
        })
        .collect::<Result<_>>()?;
    Ok(texts.join("\n---\n"))
}

/// Parses every document; the faults of all go to standard error.
pub(crate) fn parse_all(text: &str, variables: &BTreeMap<String, String>) -> Result<Vec<Resource>> {
    let mut resources = Vec::new();
    let mut failed = false;
    for (i, document) in split(text).into_iter().enumerate() {
        let rendered = if variables.is_empty() { Ok(document) } else { model::mustache::render(&document, variables) };
        match rendered.map_err(|e| format!("failed to parse resource: {e}")).and_then(|text| parse(&text)) {
            Ok(resource) => resources.push(resource),
            Err(reason) => {
                eprintln!("resource[{i}]: {reason}");
                failed = true;
            }
        }
    }
    if failed {
        bail!("failed to validate some resources");
    }
    if resources.is_empty() {
        bail!("no resource(s) passed to apply");
    }
    Ok(resources)
}

/// Splits at lines that begin with `---`; what is empty or one comment is dropped.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.starts_with("---") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|document| {
        let trimmed = document.trim();
        !(trimmed.is_empty() || trimmed.starts_with('#') && trimmed.lines().count() == 1)
    });
    documents
}

fn parse(text: &str) -> Result<Resource, String> {
    let unparsable = |reason: &dyn std::fmt::Display| format!("failed to parse resource: {reason}");
    let document = model::yaml::read(text).map_err(|e| unparsable(&e))?;
    let ty = document.get("type").and_then(Value::as_str).unwrap_or_default();
    let Some(kind) = by_name(ty) else {
        return Err(unparsable(&format!("invalid meta type: {ty:?}, expected the type of a Kuma resource")));
    };
    let submission = Submission::read(kind, document).map_err(|error| match error {
        DecodeError::Malformed(reason) => unparsable(&reason),
        DecodeError::Invalid(violations) => unparsable(&violations),
    })?;
    check(kind, &submission)?;
    let mut meta = Meta::new(zero_time());
    meta.labels = submission.labels;
    let key = Key::new(kind, &submission.mesh, &submission.name);
    Ok(Resource { key, meta, spec: submission.spec, status: None })
}

fn check(kind: Kind, submission: &Submission) -> Result<(), String> {
    let mut faults = model::names::check_name(&submission.name);
    if kind.scope == Scope::Mesh {
        faults.append(model::names::check_mesh(&submission.mesh));
    }
    if !faults.is_empty() {
        return Err(format!("failed to read meta: {faults}"));
    }
    let faults = (kind.codec.validate)(&Document {
        mesh: &submission.mesh,
        name: &submission.name,
        labels: &submission.labels,
        spec: &submission.spec,
    });
    if faults.is_empty() { Ok(()) } else { Err(format!("failed to parse resource: {faults}")) }
}

/// Go's zero time, which stands where a resource has none yet.
fn zero_time() -> Timestamp {
    Timestamp::from_second(-62_135_596_800).unwrap_or(Timestamp::MIN)
}

fn show(resource: &Resource) -> Result<String> {
    let document: Value = serde_json::from_str(&render(resource))?;
    Ok(resource_yaml(&document, resource.key.kind.form == Form::Proto))
}

fn describe(resource: &Resource) -> String {
    let key = &resource.key;
    format!("resource type=\"{}\" mesh=\"{}\" name=\"{}\"", key.kind, key.mesh, key.name)
}

/// What became of a resource.
struct Done {
    verb: &'static str,
    warnings: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Written {
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

async fn apply(resource: &Resource, client: &Client) -> Result<Done> {
    let key = &resource.key;
    let path = item_path(key.kind, &key.mesh, &key.name);
    let existing = client.send(Method::GET, &path, None).await?;
    let verb = match existing.status.as_u16() {
        404 => "Created",
        status if status < 400 => "Updated",
        _ => return Err(existing.error()),
    };
    let body = client.send(Method::PUT, &path, Some(render(resource))).await?.success()?;
    let written: Written = if body.trim().is_empty() { Written::default() } else { serde_json::from_str(&body)? };
    Ok(Done { verb, warnings: written.warnings.unwrap_or_default() })
}

/// What the control plane said, on one line.
fn refusal(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ApiError>() {
        Some(api) => {
            let faults: String = api.faults().iter().map(|(field, reason)| format!(";{field}={reason} ")).collect();
            format!("{} ({}){}", api.title, api.explanation(), faults)
        }
        None => anyhow!("{error:#}").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_and_comments_dropped() {
        assert_eq!(split("a: 1\n--- # x\nb: 2\n---\n# only\n---\n\n"), ["a: 1\n", "b: 2\n"]);
    }

    #[test]
    fn variables_are_filled_in_and_the_result_is_shown_as_kuma_does() {
        let template = "type: Dataplane\nmesh: default\nname: {{ name }}\nnetworking: {address: 2.2.2.2, inbound: \
                        [{port: 80}]}\n";
        let variables = [("name".to_owned(), "sample".to_owned())].into();
        let resources = parse_all(template, &variables).unwrap();
        let shown = show(&resources[0]).unwrap();
        assert_eq!(
            shown,
            "creationTime: \"0001-01-01T00:00:00Z\"\nkri: kri_dp_default___sample_\nmesh: default\nmodificationTime: \
             \"0001-01-01T00:00:00Z\"\nname: sample\ntype: Dataplane\nnetworking:\n  address: 2.2.2.2\n  inbound:\n  - \
             port: 80\n"
        );
    }

    #[test]
    fn unknown_types_and_invalid_fields_are_refused() {
        assert!(parse("type: Nothing\nname: a").unwrap_err().contains("invalid meta type: \"Nothing\""));
        assert!(parse("type: Mesh\nname: A").unwrap_err().starts_with("failed to read meta: name: invalid"));
    }
}
