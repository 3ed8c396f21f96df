//! MeshTLS: whether inbounds take plaintext, and which TLS the mesh speaks.

use serde::{Deserialize, Serialize};

use super::registered::{SpecType, plain};
use super::rules::one_of;
use super::target_ref::{self, TargetRef};
use super::text_enum::text_enum;
use super::tls_version::{TlsVersionRange, range_schema};
use crate::codec::Codec;
use crate::schema::{self, Schema};
use crate::violation::Violations;
use std::sync::LazyLock;

/// Spec of a MeshTLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTls {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// What their inbounds take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// What inbounds take.
    pub default: Conf,
}

text_enum! {
    /// Whether inbounds take plaintext.
    pub enum TlsMode {
        /// They do.
        Permissive = "Permissive",
        /// They do not.
        Strict = "Strict",
    }
}

text_enum! {
    /// Ciphers of TLS 1.2.
    pub enum TlsCipher {
        /// ECDHE-ECDSA with AES-128-GCM.
        EcdheEcdsaAes128GcmSha256 = "ECDHE-ECDSA-AES128-GCM-SHA256",
        /// ECDHE-ECDSA with AES-256-GCM.
        EcdheEcdsaAes256GcmSha384 = "ECDHE-ECDSA-AES256-GCM-SHA384",
        /// ECDHE-ECDSA with ChaCha20.
        EcdheEcdsaChacha20Poly1305 = "ECDHE-ECDSA-CHACHA20-POLY1305",
        /// ECDHE-RSA with AES-128-GCM.
        EcdheRsaAes128GcmSha256 = "ECDHE-RSA-AES128-GCM-SHA256",
        /// ECDHE-RSA with AES-256-GCM.
        EcdheRsaAes256GcmSha384 = "ECDHE-RSA-AES256-GCM-SHA384",
        /// ECDHE-RSA with ChaCha20.
        EcdheRsaChacha20Poly1305 = "ECDHE-RSA-CHACHA20-POLY1305",
    }
}

/// What inbounds take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<TlsVersionRange>,
    /// Ciphers of TLS 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ciphers: Option<Vec<TlsCipher>>,
    /// Whether plaintext is taken; absent means no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
}

impl SpecType for MeshTls {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let conf = schema::object([
                ("tlsVersion", range_schema()),
                ("tlsCiphers", schema::array(schema::choice(TlsCipher::TEXTS))),
                ("mode", schema::choice(TlsMode::TEXTS)),
            ]);
            let rule = schema::object([("default", conf)]);
            schema::object([("targetRef", target_ref::top_schema()), ("rules", schema::array(rule))])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        let top = self.target_ref.as_ref();
        target_ref::check_top(faults, top, !self.rules.is_empty());
        for (i, rule) in self.rules.iter().enumerate() {
            faults.nest(&format!("spec.rules[{i}].default"), rule.default.faults(target_ref::is_mesh(top)));
        }
    }
}

impl Conf {
    /// `mesh_wide`: the policy is for the whole mesh, where alone versions and ciphers may stand.
    fn faults(&self, mesh_wide: bool) -> Violations {
        let mut faults = Violations::new();
        if self.mode.as_ref().is_some_and(|mode| !mode.is_known()) {
            faults.add("mode", one_of("mode", &["Strict", "Permissive"]));
        }
        let only_mesh_wide = |field: &str| format!("{field} can only be defined with top level targetRef kind: Mesh");
        if let Some(ciphers) = &self.tls_ciphers {
            if !mesh_wide {
                faults.add("tlsCiphers", only_mesh_wide("tlsCiphers"));
            }
            for _ in ciphers.iter().filter(|cipher| !cipher.is_known()) {
                faults.add("tlsCiphers", one_of("tlsCiphers", TlsCipher::TEXTS));
            }
        }
        if let Some(version) = &self.tls_version {
            if !mesh_wide {
                faults.add("tlsVersion", only_mesh_wide("tlsVersion"));
            }
            faults.nest("tlsVersion", version.faults());
        }
        faults
    }
}

pub(crate) const CODEC: Codec = plain::<MeshTls>();
