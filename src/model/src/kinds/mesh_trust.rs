//! MeshTrust: the certificate authorities of a trust domain.

use serde::{Deserialize, Serialize};

use super::registered::{SpecType, with_status};
use super::rules::{MUST_BE_DEFINED, MUST_NOT_BE_EMPTY};
use super::text_enum::text_enum;
use crate::codec::Codec;
use crate::names::DNS_NAME_LEN_MAX;
use crate::schema::{self, Schema};
use crate::violation::Violations;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::LazyLock;

/// Spec of a MeshTrust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTrust {
    /// Its authorities.
    pub ca_bundles: Vec<CaBundle>,
    /// The trust domain.
    pub trust_domain: String,
}

text_enum! {
    /// Forms of an authority.
    pub enum CaBundleType {
        /// PEM text.
        Pem = "Pem",
    }
}

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaBundle {
    /// Its form.
    #[serde(rename = "type")]
    pub kind: CaBundleType,
    /// For `Pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<Pem>,
}

impl CaBundle {
    /// An authority as PEM text.
    pub fn pem(value: impl Into<String>) -> Self {
        Self { kind: CaBundleType::Pem, pem: Some(Pem { value: value.into() }) }
    }
}

/// PEM text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pem {
    /// The text.
    pub value: String,
}

/// Status of a MeshTrust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshTrustStatus {
    /// The MeshIdentity that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<TrustOrigin>,
}

/// Where a MeshTrust comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrustOrigin {
    /// Identifier of the MeshIdentity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kri: Option<String>,
}

impl SpecType for MeshTrust {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let pem = schema::object([("value", schema::string())]).required(&["value"]);
            let bundle = schema::object([("type", schema::choice(CaBundleType::TEXTS)), ("pem", pem)]);
            schema::object([
                ("caBundles", schema::array(bundle.required(&["type"])).min_items(1)),
                ("trustDomain", schema::string().max_len(253)),
            ])
            .required(&["caBundles", "trustDomain"])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        if self.ca_bundles.is_empty() {
            faults.add("spec.caBundles", MUST_NOT_BE_EMPTY);
        }
        for (i, bundle) in self.ca_bundles.iter().enumerate() {
            match (&bundle.kind, &bundle.pem) {
                // The reference leaves the index out here.
                (CaBundleType::Unknown(kind), _) => {
                    faults.add("spec.caBundles.type", format!("{kind} must be one of: Pem"));
                }
                (CaBundleType::Pem, None) => faults.add(format!("spec.caBundles[{i}].pem"), MUST_BE_DEFINED),
                (CaBundleType::Pem, Some(pem)) if !is_public_pem(&pem.value) => {
                    faults.add(format!("spec.caBundles[{i}].pem.value"), "provided certificate has incorrect format");
                }
                (CaBundleType::Pem, Some(_)) => {}
            }
        }
        if self.trust_domain.is_empty() {
            faults.add("spec.trustDomain", "trustDomain needs to be defined");
        } else if self.trust_domain.len() > DNS_NAME_LEN_MAX {
            faults.add("spec.trustDomain", "must not be longer than 253 characters");
        }
    }
}

/// Whether the first PEM block is complete, is base64 and holds no private key.
fn is_public_pem(text: &str) -> bool {
    const BEGIN: &str = "-----BEGIN ";
    let Some((_, after)) = text.split_once(BEGIN) else { return false };
    let Some((label, after)) = after.split_once("-----") else { return false };
    let Some((body, _)) = after.split_once(&format!("-----END {label}-----")) else { return false };
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    !label.ends_with("PRIVATE KEY") && STANDARD.decode(body).is_ok()
}

pub(crate) const CODEC: Codec = with_status::<MeshTrust, MeshTrustStatus>();
