//! Where a secret value comes from.

use serde::{Deserialize, Serialize};

use super::rules::MUST_BE_DEFINED;
use super::text_enum::text_enum;
use crate::schema::{self, Schema};
use crate::violation::Violations;

text_enum! {
    /// Which branch of a [`SecureDataSource`] counts.
    pub enum DataSourceType {
        /// A file of the control plane.
        File = "File",
        /// A Secret of the resource's mesh.
        Secret = "Secret",
        /// An environment variable of the control plane.
        EnvVar = "EnvVar",
        /// The value itself.
        InsecureInline = "InsecureInline",
    }
}

/// A value that is kept outside of the resource, or inline for tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecureDataSource {
    /// Which branch counts.
    #[serde(rename = "type")]
    pub kind: DataSourceType,
    /// For `File`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// For `Secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// For `EnvVar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_var: Option<EnvVarSource>,
    /// For `InsecureInline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_inline: Option<InlineSource>,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSource {
    /// Its absolute path.
    pub path: String,
}

text_enum! {
    /// The kind that a [`SecretRef`] names.
    pub enum SecretRefKind {
        /// A Secret of the mesh.
        Secret = "Secret",
    }
}

/// A Secret of the same mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Always `Secret`.
    pub kind: SecretRefKind,
    /// Its name.
    pub name: String,
}

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVarSource {
    /// Its name.
    pub name: String,
}

/// An inline value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineSource {
    /// The value.
    pub value: String,
}

/// Schema of a [`SecureDataSource`].
pub(crate) fn schema() -> Schema {
    let branch = |name: &'static str| schema::object([(name, schema::string())]).required(&[name]);
    schema::object([
        ("type", schema::choice(DataSourceType::TEXTS)),
        ("file", branch("path")),
        ("envVar", branch("name")),
        ("insecureInline", branch("value")),
        (
            "secretRef",
            schema::object([("kind", schema::choice(SecretRefKind::TEXTS)), ("name", schema::string())])
                .required(&["kind", "name"]),
        ),
    ])
    .required(&["type"])
}

impl SecureDataSource {
    /// The faults of the source.
    pub(crate) fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let leaf = |path: &'static str, leaf: &'static str, value: Option<&str>| match value {
            None => Some(path),
            Some("") => Some(leaf),
            Some(_) => None,
        };
        let missing = match &self.kind {
            DataSourceType::EnvVar => leaf("envVar", "envVar.name", self.env_var.as_ref().map(|v| v.name.as_str())),
            DataSourceType::InsecureInline => {
                leaf("insecureInline", "insecureInline.value", self.insecure_inline.as_ref().map(|v| v.value.as_str()))
            }
            DataSourceType::File => leaf("file", "file.path", self.file.as_ref().map(|file| file.path.as_str())),
            DataSourceType::Secret => {
                if let Some(SecretRefKind::Unknown(kind)) = self.secret_ref.as_ref().map(|secret| &secret.kind) {
                    faults.add("secretRef.kind", format!("{kind} must be one of: Secret"));
                }
                leaf("secretRef", "secretRef.name", self.secret_ref.as_ref().map(|secret| secret.name.as_str()))
            }
            DataSourceType::Unknown(kind) => {
                faults.add("type", format!("{kind} must be one of: EnvVar, InsecureInline, File, Secret"));
                None
            }
        };
        if let Some(path) = missing {
            faults.add(path, MUST_BE_DEFINED);
        } else if let (DataSourceType::File, Some(file)) = (&self.kind, &self.file) {
            let path = &file.path;
            if path.contains("..") {
                faults.add("file.path", format!("file path contains directory traversal sequence: {path}"));
            } else if !path.starts_with('/') {
                faults.add("file.path", format!("file path must be absolute: {path}"));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sources_are_checked_in_kumas_words() {
        for (raw, expected) in [
            (json!({"type": "Secret", "secretRef": {"kind": "Secret", "name": "s"}}), ""),
            (json!({"type": "Secret"}), "secretRef: must be defined"),
            (json!({"type": "EnvVar", "envVar": {"name": ""}}), "envVar.name: must be defined"),
            (json!({"type": "File", "file": {"path": "a"}}), "file.path: file path must be absolute: a"),
            (
                json!({"type": "File", "file": {"path": "/a/../b"}}),
                "file.path: file path contains directory traversal sequence: /a/../b",
            ),
            (json!({"type": "Odd"}), "type: Odd must be one of: EnvVar, InsecureInline, File, Secret"),
        ] {
            let source: SecureDataSource = serde_json::from_value(raw.clone()).expect("a source");
            assert_eq!(source.faults().to_string(), expected, "{raw}");
        }
    }
}
