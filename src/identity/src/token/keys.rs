//! Where signing keys are stored, how they are named, and which one signs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::kinds::secret::Secret;
use model::registry::{GLOBAL_SECRET, SECRET};
use model::{Key, Resource};
use serde_json::{Value, json};

use crate::rsa::{KeyError, RsaPrivateKey};

/// The keys of one kind of token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRing {
    /// User tokens: one ring a control plane.
    User,
    /// Zone tokens: one ring a global control plane.
    Zone,
    /// Dataplane tokens: one ring a mesh.
    Dataplane {
        /// The mesh.
        mesh: String,
    },
}

impl KeyRing {
    /// The ring of a mesh.
    pub fn dataplane(mesh: &str) -> Self {
        Self::Dataplane { mesh: mesh.to_owned() }
    }

    /// What the names of its secrets begin with.
    pub fn prefix(&self) -> String {
        match self {
            Self::User => "user-token-signing-key".to_owned(),
            Self::Zone => "zone-token-signing-key".to_owned(),
            Self::Dataplane { mesh } => format!("dataplane-token-signing-key-{mesh}"),
        }
    }

    /// The secret of a key. Id `0` is that of keys from before ids existed: the bare prefix.
    pub fn secret(&self, key_id: &str) -> Key {
        let name = if key_id == "0" { self.prefix() } else { format!("{}-{key_id}", self.prefix()) };
        self.secret_named(&name)
    }

    /// Secrets that may list revoked tokens, one id after the other. Kuma keeps the list of a mesh
    /// among the global secrets; the mesh's own secret of that name counts as well.
    pub fn revocations(&self) -> Vec<Key> {
        match self {
            Self::User => vec![Key::global(GLOBAL_SECRET, "user-token-revocations")],
            Self::Zone => vec![Key::global(GLOBAL_SECRET, "zone-token-revocations")],
            Self::Dataplane { mesh } => {
                let name = format!("dataplane-token-revocations-{mesh}");
                vec![Key::global(GLOBAL_SECRET, &name), Key::new(SECRET, mesh, &name)]
            }
        }
    }

    /// The error for a missing key.
    pub fn not_found(&self, key_id: &str) -> KeyNotFound {
        let secret = self.secret(key_id);
        KeyNotFound { key_id: key_id.to_owned(), secret: secret.name.to_string(), mesh: secret.mesh.to_string() }
    }

    fn secret_named(&self, name: &str) -> Key {
        match self {
            Self::User | Self::Zone => Key::global(GLOBAL_SECRET, name),
            Self::Dataplane { mesh } => Key::new(SECRET, mesh, name),
        }
    }

    /// The serial number of a secret of this ring; `None` when it is not of this ring. A suffix
    /// that is no number counts as 0.
    fn serial(&self, secret: &Key) -> Option<i64> {
        let of_ring = self.secret_named(&secret.name) == *secret;
        let suffix = secret.name.strip_prefix(&self.prefix()).filter(|_| of_ring)?;
        Some(suffix.strip_prefix('-').and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }
}

/// No such key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNotFound {
    /// Its id.
    pub key_id: String,
    /// Name of the secret that would hold it.
    pub secret: String,
    /// Mesh of the secret, empty for a global one.
    pub mesh: String,
}

impl std::fmt::Display for KeyNotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key_id, secret, mesh } = self;
        write!(f, "there is no signing key with KID {key_id}. ")?;
        if mesh.is_empty() {
            write!(f, "GlobalSecret of name \"{secret}\" is not found. ")?;
        } else {
            write!(f, "Secret of name \"{secret}\" in mesh \"{mesh}\" is not found. ")?;
        }
        f.write_str("If signing key was rotated, regenerate the token")
    }
}

impl std::error::Error for KeyNotFound {}

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey {
    /// Its id, the `kid` of the tokens that it signs.
    pub id: String,
    /// The key.
    pub key: RsaPrivateKey,
}

/// Why there is no key to sign with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// The ring is empty.
    #[error(transparent)]
    NotFound(#[from] KeyNotFound),
    /// The newest key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl SigningKeyError {
    /// Whether the ring is empty, so that a first key may be made.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

/// The newest key of a ring among these secrets: the highest serial number.
///
/// # Errors
/// When the ring is empty, or its newest secret holds no key.
pub fn latest_signing_key<'a>(
    ring: &KeyRing,
    secrets: impl IntoIterator<Item = &'a Resource>,
) -> Result<SigningKey, SigningKeyError> {
    let newest = secrets
        .into_iter()
        .filter_map(|secret| Some((ring.serial(&secret.key)?, secret)))
        .max_by_key(|(serial, _)| *serial);
    let Some((serial, secret)) = newest else { return Err(ring.not_found("1").into()) };
    let bytes = secret_data(secret).unwrap_or_default();
    Ok(SigningKey { id: serial.to_string(), key: RsaPrivateKey::parse(&bytes)? })
}

/// The bytes of a `Secret` or `GlobalSecret`; `None` when it holds none.
pub fn secret_data(secret: &Resource) -> Option<Vec<u8>> {
    if let Some(typed) = secret.spec::<Secret>() {
        return typed.data.as_ref().map(|data| data.0.clone());
    }
    let spec: Value = serde_json::from_str(secret.spec.json()).ok()?;
    STANDARD.decode(spec.get("data")?.as_str()?).ok()
}

/// The spec of a `Secret` or `GlobalSecret` with these bytes, to be admitted by its codec.
pub fn secret_spec(data: &[u8]) -> Value {
    json!({"data": STANDARD.encode(data)})
}
