//! Where a secret value comes from.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;

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
