//! `kumactl export`: everything that another control plane needs, as documents.

use anyhow::{Context, Result, bail};
use model::registry::by_name;
use model::{Form, Kind, Scope};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::ExportFlags;
use crate::client::Client;
use crate::output::resource_yaml;
use crate::resources::{item_path, list_path};

/// Secrets that belong to one control plane and are never moved.
const OWN_SECRETS: &[&str] = &["envoy-admin-ca", "inter-cp-ca"];

/// Keys of users' tokens: what writes them back needs everything else first.
const USER_TOKEN_KEY_PREFIX: &str = "user-token-signing-key";

/// What a Kubernetes object has only in its cluster.
const CLUSTER_FIELDS: &[&str] = &["resourceVersion", "ownerReferences", "uid", "generation", "managedFields"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    Federation,
    FederationWithPolicies,
    All,
    NoDataplanes,
}

impl Profile {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "federation" => Self::Federation,
            "federation-with-policies" => Self::FederationWithPolicies,
            "all" => Self::All,
            "no-dataplanes" => Self::NoDataplanes,
            other => bail!("invalid profile: {other:?}"),
        })
    }

    fn is_federation(self) -> bool {
        matches!(self, Self::Federation | Self::FederationWithPolicies)
    }

    fn takes(self, ty: &ResourceType) -> bool {
        match self {
            Self::All => true,
            Self::NoDataplanes => !matches!(ty.name.as_str(), "Dataplane" | "DataplaneInsight"),
            Self::FederationWithPolicies => ty.include_in_federation,
            Self::Federation => {
                ty.include_in_federation && !ty.policy.as_ref().is_some_and(|policy| policy.is_target_ref)
            }
        }
    }
}

/// A type as `/_resources` describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceType {
    name: String,
    #[serde(default)]
    include_in_federation: bool,
    #[serde(default)]
    policy: Option<PolicyParts>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyParts {
    #[serde(default)]
    is_target_ref: bool,
}

#[derive(Deserialize)]
struct ResourceTypes {
    resources: Vec<ResourceType>,
}

/// Prints the resources of a control plane.
///
/// # Errors
/// Unknown profiles and formats, or what the control plane says.
pub(crate) async fn run(flags: &ExportFlags, client: &Client) -> Result<()> {
    crate::version::check(client).await;
    if let Ok(index) = client.get_json("/").await {
        let field = |name: &str| index.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (cluster, instance) = (field("clusterId"), field("instanceId"));
        let (product, version, host) = (field("product"), field("version"), field("hostname"));
        println!(
            "# Product: {product}, Version: {version}, Hostname: {host}, ClusterId: {cluster}, InstanceId: {instance}"
        );
    }
    let profile = Profile::parse(&flags.profile)?;
    if !matches!(flags.format.as_str(), "universal" | "kubernetes") {
        bail!("invalid format: {:?}", flags.format);
    }
    let types: ResourceTypes =
        serde_json::from_str(&client.get("/_resources").await?).context("the answer to /_resources is not known")?;
    let meshes = pages(client, "/meshes").await.context("failed to list meshes")?;
    let mut resources = Vec::new();
    for kind in chosen(profile, flags.include_admin, &types.resources) {
        let listed = match kind.scope {
            Scope::Global if kind.name == "Mesh" => meshes.clone(),
            Scope::Global => pages(client, &list_path(kind, "")).await?,
            Scope::Mesh => {
                let mut all = Vec::new();
                for mesh in &meshes {
                    all.append(&mut pages(client, &list_path(kind, name_of(mesh))).await?);
                }
                all
            }
        };
        resources.extend(listed.into_iter().map(|document| (kind, document)));
    }
    for (kind, document) in ordered(resources) {
        let document = edited(profile, kind, document);
        match flags.format.as_str() {
            "universal" => print!("---\n{}", resource_yaml(&document, kind.form == Form::Proto)),
            _ => {
                if let Some(object) = kubernetes(flags, profile, kind, &document, client).await? {
                    print!("---\n{}", model::yaml::to_string(&object));
                }
            }
        }
    }
    Ok(())
}

fn name_of(document: &Value) -> &str {
    document.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// The kinds of a profile: meshes and their secrets come first, global secrets last.
fn chosen(profile: Profile, include_admin: bool, types: &[ResourceType]) -> Vec<Kind> {
    let (mut kinds, mut unknown) = (Vec::new(), Vec::new());
    for ty in types.iter().filter(|ty| profile.takes(ty)) {
        match by_name(&ty.name) {
            Some(kind) if kind.admin_only && !profile.is_federation() && !include_admin => {}
            Some(kind) => kinds.push(kind),
            None => unknown.push(ty.name.as_str()),
        }
    }
    if !unknown.is_empty() {
        let said =
            format!("The following types won't be exported because they are unknown to kumactl: {}", unknown.join(","));
        println!("# {said}");
        eprintln!("WARNING: {said}. Are you using a compatible version of kumactl?");
    }
    kinds.sort_by_key(|kind| match kind.name {
        "Mesh" => 0,
        "Secret" => 1,
        "GlobalSecret" => 3,
        _ => 2,
    });
    kinds
}

/// All items of a list, page after page.
async fn pages(client: &Client, path: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut at = path.to_owned();
    loop {
        let mut page = client.get_json(&at).await?;
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            all.extend(items);
        }
        let next = page.get("next").and_then(Value::as_str).and_then(|next| Url::parse(next).ok());
        // Only the query counts: the server may know itself by another address than we do.
        match next.as_ref().and_then(Url::query) {
            Some(query) if at != format!("{path}?{query}") => at = format!("{path}?{query}"),
            _ => return Ok(all),
        }
    }
}

/// Without the secrets that stay; with the keys of users' tokens at the end.
fn ordered(mut resources: Vec<(Kind, Value)>) -> Vec<(Kind, Value)> {
    let is_global_secret = |kind: Kind| kind.name == "GlobalSecret";
    resources.retain(|(kind, document)| !is_global_secret(*kind) || !OWN_SECRETS.contains(&name_of(document)));
    let is_key =
        |kind: Kind, document: &Value| is_global_secret(kind) && name_of(document).starts_with(USER_TOKEN_KEY_PREFIX);
    resources.sort_by_key(|(kind, document)| is_key(*kind, document));
    resources
}

fn edited(profile: Profile, kind: Kind, mut document: Value) -> Value {
    let Some(fields) = document.as_object_mut() else { return document };
    if kind.name == "Mesh" {
        fields.insert("skipCreatingInitialPolicies".to_owned(), json!(["*"]));
    }
    if profile.is_federation()
        && let Some(Value::Object(labels)) = fields.get_mut("labels")
    {
        labels.remove("kuma.io/origin");
        if labels.is_empty() {
            fields.remove("labels");
        }
    }
    document
}

/// The Kubernetes object of a resource; `None` when it lies outside the system namespace.
async fn kubernetes(
    flags: &ExportFlags,
    profile: Profile,
    kind: Kind,
    document: &Value,
    client: &Client,
) -> Result<Option<Value>> {
    let mesh = document.get("mesh").and_then(Value::as_str).unwrap_or_default();
    let path = format!("{}?format=k8s", item_path(kind, mesh, name_of(document)));
    let answer = client.send(Method::GET, &path, None).await?;
    if answer.status.as_u16() != 200 {
        bail!("unexpected status code: {} {}", answer.status.as_u16(), answer.body);
    }
    let mut object: Value = serde_json::from_str(&answer.body).context("the answer is not JSON")?;
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    if profile != Profile::All && !namespace.is_empty() && namespace != flags.system_namespace {
        return Ok(None);
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !CLUSTER_FIELDS.contains(&name.as_str()));
        if profile.is_federation()
            && let Some(Value::Object(labels)) = metadata.get_mut("labels")
        {
            labels.remove("kuma.io/origin");
        }
    }
    if kind.name == "Mesh" {
        let mut spec = document.clone();
        if let Some(fields) = spec.as_object_mut() {
            let meta = ["type", "name", "mesh", "creationTime", "modificationTime", "labels", "kri"];
            fields.retain(|name, _| !meta.contains(&name.as_str()));
        }
        object["spec"] = spec;
    }
    Ok(Some(object))
}
