//! Validating tokens against configured public keys and stored secrets.

use model::{Key, Timestamp};
use serde_json::{Map, Value};

use super::claims::{self, Claims};
use super::jwt::{JwtError, Unverified};
use super::keys::{KeyNotFound, KeyRing};
use crate::rsa::{KeyError, RsaPublicKey};

/// A public key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeyEntry {
    /// The `kid` of the tokens that it validates; any text.
    pub key_id: String,
    /// The mesh whose dataplane tokens it validates; empty: all.
    pub mesh: String,
    /// The key.
    pub key: RsaPublicKey,
}

/// Why a token is refused; the text is for whoever presented it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It cannot be parsed, its signature is wrong, or it is expired.
    #[error("could not parse token{}: {cause}", if *in_memory { IN_MEMORY_HINT } else { "" })]
    Unacceptable {
        /// Whether the store forgets its keys with the process.
        in_memory: bool,
        /// What is wrong.
        cause: JwtError,
    },
    /// It is valid from a later time on.
    #[error(
        "token is not yet valid: 'valid_from' date is in the future. Check if the system clock on the instance \
         that issued the token is set correctly: {0}"
    )]
    NotYetValid(JwtError),
    /// Its key is unknown.
    #[error(transparent)]
    KeyNotFound(#[from] KeyNotFound),
    /// Its key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It was revoked.
    #[error("token is revoked")]
    Revoked,
}

const IN_MEMORY_HINT: &str = ". kuma-cp runs with an in-memory database and its state isn't preserved between \
    restarts. Keep in mind that an in-memory database cannot be used with multiple instances of the control plane";

/// What validates tokens of one kind.
#[derive(Clone, Debug)]
pub struct Validator<'a> {
    /// Where its keys are stored.
    pub ring: KeyRing,
    /// Keys of the configuration; they are asked first.
    pub public_keys: &'a [PublicKeyEntry],
    /// Whether stored secrets are asked as well.
    pub use_secrets: bool,
    /// Whether the store forgets its keys with the process; only the text of errors depends on it.
    pub in_memory: bool,
}

impl Validator<'_> {
    /// The claims of a valid token. `secret` gives the bytes of a stored secret, if there is one.
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn validate<C: Claims>(
        &self,
        token: &str,
        secret: &dyn Fn(&Key) -> Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<C, TokenError> {
        let unacceptable = |cause: JwtError| TokenError::Unacceptable { in_memory: self.in_memory, cause };
        let token = Unverified::parse(token).map_err(unacceptable)?;
        let key = self.key(token.key_id().map_err(unacceptable)?, secret)?;
        let claims = token.verify(&key, now).map_err(|cause| match cause {
            JwtError::NotYetValid => TokenError::NotYetValid(cause),
            cause => unacceptable(cause),
        })?;
        let malformed = |e: String| unacceptable(JwtError::Malformed(format!("could not JSON decode claim: {e}")));
        let read = C::read(&claims).map_err(malformed)?;
        if self.is_revoked(&claims, secret).map_err(malformed)? {
            return Err(TokenError::Revoked);
        }
        Ok(read)
    }

    fn key(&self, key_id: &str, secret: &dyn Fn(&Key) -> Option<Vec<u8>>) -> Result<RsaPublicKey, TokenError> {
        let of_mesh = |entry: &PublicKeyEntry| match &self.ring {
            KeyRing::Dataplane { mesh } => entry.mesh.is_empty() || entry.mesh == *mesh,
            KeyRing::User | KeyRing::Zone => true,
        };
        if let Some(entry) = self.public_keys.iter().find(|entry| entry.key_id == key_id && of_mesh(entry)) {
            return Ok(entry.key.clone());
        }
        if !self.use_secrets {
            let secret = format!("-{key_id}");
            return Err(KeyNotFound { key_id: key_id.to_owned(), secret, mesh: String::new() }.into());
        }
        let bytes = secret(&self.ring.secret(key_id)).ok_or_else(|| self.ring.not_found(key_id))?;
        Ok(RsaPublicKey::of_private(&bytes)?)
    }

    /// Whether the token's id stands on a list: ids between commas, one trailing newline tolerated.
    fn is_revoked(
        &self,
        claims: &Map<String, Value>,
        secret: &dyn Fn(&Key) -> Option<Vec<u8>>,
    ) -> Result<bool, String> {
        let id = claims::text(claims, "jti")?;
        Ok(self.ring.revocations().iter().filter_map(secret).any(|list| {
            let list = list.strip_suffix(b"\n").unwrap_or(&list);
            list.split(|byte| *byte == b',').any(|revoked| revoked == id.as_bytes() && !list.is_empty())
        }))
    }
}
