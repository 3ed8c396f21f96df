//! MeshIdentity: who workloads are and who vouches for them.

use std::cmp::Reverse;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::conditions::ConditionsStatus;
use super::data_source::{self, SecureDataSource};
use super::duration::GoDuration;
use super::registered::{SpecType, with_status};
use super::rules::{MUST_BE_DEFINED, not_negative, one_of};
use super::selector::LabelSelector;
use super::text_enum::text_enum;
use crate::codec::Codec;
use crate::go_template::GoTemplate;
use crate::meta::Labels;
use crate::resource::Resource;
use crate::schema::{self, Schema};
use crate::violation::Violations;

/// Spec of a MeshIdentity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshIdentity {
    /// The dataplanes that it is for; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<IdentitySelector>,
    /// How SPIFFE IDs are made.
    #[serde(rename = "spiffeID", skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<SpiffeId>,
    /// Who issues certificates; absent means that identities are only named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
}

impl MeshIdentity {
    /// How specifically it selects a dataplane with these labels: the number of labels that it
    /// asks for, or `None` when it does not select it.
    pub fn specificity(&self, labels: &Labels) -> Option<usize> {
        let selector = self.selector.as_ref()?.dataplane.as_ref()?;
        selector.matches(labels).then(|| selector.len())
    }
}

/// The MeshIdentity that a Dataplane with these labels belongs to. Most labels win, then the smallest
/// name. Readiness plays no role: who belongs to an identity that is not ready has none.
pub fn best_match<'a>(
    identities: impl IntoIterator<Item = &'a Arc<Resource>>,
    dataplane: &Labels,
) -> Option<&'a Arc<Resource>> {
    let matching = identities.into_iter().filter_map(|resource| {
        let specificity = resource.spec::<MeshIdentity>()?.specificity(dataplane)?;
        Some((specificity, Reverse(&resource.key.name), resource))
    });
    matching.max_by_key(|(specificity, name, _)| (*specificity, *name)).map(|(_, _, resource)| resource)
}

/// The dataplanes of an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentitySelector {
    /// Dataplanes by label; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataplane: Option<LabelSelector>,
}

/// How SPIFFE IDs are made: Go templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpiffeId {
    /// The trust domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

text_enum! {
    /// Who issues certificates.
    pub enum ProviderType {
        /// The control plane.
        Bundled = "Bundled",
        /// A SPIRE agent.
        Spire = "Spire",
        /// An extension.
        Extension = "Extension",
    }
}

/// Who issues certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Which branch counts.
    #[serde(rename = "type")]
    pub kind: ProviderType,
    /// For `Bundled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundled: Option<Bundled>,
    /// For `Spire`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spire: Option<Spire>,
    /// For `Extension`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<NamedExtension>,
}

text_enum! {
    /// Whether a MeshTrust is made from the authority.
    pub enum MeshTrustCreation {
        /// Yes.
        Enabled = "Enabled",
        /// No.
        Disabled = "Disabled",
    }
}

/// Certificates issued by the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bundled {
    /// Whether a MeshTrust is made from the authority; absent means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_trust_creation: Option<MeshTrustCreation>,
    /// Whether a self-signed authority is good enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_allow_self_signed: Option<bool>,
    /// Parameters of workload certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_parameters: Option<CertificateParameters>,
    /// Whether the control plane makes the authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autogenerate: Option<Autogenerate>,
    /// The authority, when the control plane does not make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaPair>,
}

impl Bundled {
    /// Whether the control plane makes the authority.
    pub fn is_autogenerated(&self) -> bool {
        self.autogenerate.as_ref().and_then(|auto| auto.enabled).unwrap_or(false)
    }
}

/// Parameters of workload certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateParameters {
    /// How long they are valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<GoDuration>,
}

/// Whether the control plane makes the authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Autogenerate {
    /// Whether it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A certificate authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CaPair {
    /// Its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<SecureDataSource>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<SecureDataSource>,
}

/// Certificates issued by SPIRE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spire {
    /// The agent on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<SpireAgent>,
}

/// A SPIRE agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpireAgent {
    /// How long to wait for a connection; absent means one second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GoDuration>,
}

/// An extension by name, with free configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedExtension {
    /// Its name.
    pub name: String,
    /// Its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

/// Status of a MeshIdentity.
pub type MeshIdentityStatus = ConditionsStatus;

impl SpecType for MeshIdentity {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let selector = schema::object([("matchLabels", schema::map(schema::string()))]);
            let expiry = schema::object([("expiry", schema::string())]);
            let bundled = schema::object([
                ("meshTrustCreation", schema::choice(MeshTrustCreation::TEXTS)),
                ("insecureAllowSelfSigned", schema::boolean()),
                ("certificateParameters", expiry),
                ("autogenerate", schema::object([("enabled", schema::boolean())])),
                ("ca", schema::object([("certificate", data_source::schema()), ("privateKey", data_source::schema())])),
            ]);
            let agent = schema::object([("timeout", schema::string())]);
            let extension = schema::object([("name", schema::string()), ("config", schema::any())]);
            let provider = schema::object([
                ("type", schema::choice(ProviderType::TEXTS)),
                ("bundled", bundled),
                ("spire", schema::object([("agent", agent)])),
                ("extension", extension.required(&["name"])),
            ]);
            schema::object([
                ("selector", schema::object([("dataplane", selector)])),
                ("spiffeID", schema::object([("trustDomain", schema::string()), ("path", schema::string())])),
                ("provider", provider.required(&["type"])),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        if let Some(SpiffeId { trust_domain, path }) = &self.spiffe_id {
            for (field, text) in [("spec.spiffeID.trustDomain", trust_domain), ("spec.spiffeID.path", path)] {
                if let Some(Err(why)) = text.as_ref().map(|text| GoTemplate::parse(text)) {
                    faults.add(field, format!("couldn't parse template: {why}"));
                }
            }
        }
        if let Some(provider) = &self.provider {
            faults.nest("spec.provider", provider.faults());
        }
    }
}

const NO_CONFIGURATION: &str = "configuration needs to be defined";

impl Provider {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        match &self.kind {
            ProviderType::Bundled => match &self.bundled {
                None => faults.add("bundled", NO_CONFIGURATION),
                Some(bundled) => faults.nest("bundled", bundled.faults()),
            },
            ProviderType::Spire => match &self.spire {
                None => faults.add("spire", NO_CONFIGURATION),
                Some(spire) => {
                    let timeout = spire.agent.as_ref().and_then(|agent| agent.timeout);
                    // The path is doubled in the reference, and clients may look for it.
                    not_negative(&mut faults, "spire.agent.spire.agent.timeout", timeout);
                }
            },
            ProviderType::Extension => match &self.extension {
                None => faults.add("extension", NO_CONFIGURATION),
                Some(extension) if extension.name.is_empty() => {
                    faults.add("extension.name", "extension name needs to be defined");
                }
                Some(_) => {}
            },
            ProviderType::Unknown(kind) => faults.add("type", one_of(kind, ProviderType::TEXTS)),
        }
        faults
    }
}

impl Bundled {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if let Some(MeshTrustCreation::Unknown(text)) = &self.mesh_trust_creation {
            faults.add("meshTrustCreation", one_of(text, MeshTrustCreation::TEXTS));
        }
        match &self.ca {
            Some(_) if self.is_autogenerated() => faults.add("ca", "shouldn't be defined once using autogenerated"),
            None if !self.is_autogenerated() => faults.add("ca", MUST_BE_DEFINED),
            None => {}
            Some(ca) => {
                for (path, source) in [("ca.certificate", &ca.certificate), ("ca.privateKey", &ca.private_key)] {
                    match source {
                        None => faults.add(path, MUST_BE_DEFINED),
                        Some(source) => faults.nest(path, source.faults()),
                    }
                }
            }
        }
        let expiry = self.certificate_parameters.as_ref().and_then(|parameters| parameters.expiry);
        not_negative(&mut faults, "certificateParameters.expiry", expiry);
        faults
    }
}

pub(crate) const CODEC: Codec = with_status::<MeshIdentity, MeshIdentityStatus>();

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Key, Meta, Timestamp, registry};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_most_specific_identity_wins_and_then_the_first_by_name() {
        let identity = |(name, selector): (&str, Value)| {
            let (key, meta) = (Key::new(registry::MESH_IDENTITY, "m", name), Meta::new(Timestamp::UNIX_EPOCH));
            let spec = registry::MESH_IDENTITY.codec.admit(json!({"selector": selector})).unwrap();
            Arc::new(Resource { key, meta, spec, status: None })
        };
        let of = |labels: Value| json!({"dataplane": {"matchLabels": labels}});
        let all = [
            ("d", of(json!({}))),
            ("c", of(json!({"app": "x"}))),
            ("b", of(json!({"app": "x"}))),
            ("e", of(json!({"app": "x", "v": "1"}))),
            ("a", json!({})),
        ]
        .map(identity);
        let pick = |dataplane: &[(&str, &str)]| Some(best_match(&all, &labels(dataplane))?.key.name.to_string());
        assert_eq!(pick(&[]).as_deref(), Some("d"));
        assert_eq!(pick(&[("app", "x")]).as_deref(), Some("b"));
        assert_eq!(pick(&[("app", "x"), ("v", "1")]).as_deref(), Some("e"));
        assert_eq!(best_match(&all[4..], &labels(&[])), None);
    }
}
