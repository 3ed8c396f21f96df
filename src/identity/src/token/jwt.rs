//! Compact JWS with RS256, and the words of the library that Kuma uses for what is wrong with one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::claims::claim;
use crate::rsa::{KeyError, RsaPrivateKey, RsaPublicKey};

/// Longest token that is looked at, in bytes: parsing happens before anybody is known.
const TOKEN_LEN_MAX: usize = 64 * 1024;

/// Why a text is no acceptable token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It has not the form of a token.
    #[error("token is malformed: {0}")]
    Malformed(String),
    /// No key can be found for it.
    #[error("token is unverifiable: {0}")]
    Unverifiable(String),
    /// The signature is not that of the key.
    #[error("token signature is invalid: crypto/rsa: verification error")]
    Signature,
    /// It is not valid any more, perhaps not yet either.
    #[error("token has invalid claims: token is expired")]
    Expired,
    /// It will be valid later.
    #[error("token has invalid claims: token is not valid yet")]
    NotYetValid,
}

/// A token whose signature is not yet checked.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, JwtError> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(JwtError::Malformed(format!("token is longer than {TOKEN_LEN_MAX} bytes")));
        }
        let parts: Vec<&str> = token.splitn(4, '.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err(JwtError::Malformed("token contains an invalid number of segments".to_owned()));
        };
        let signed = &token[..header.len() + 1 + claims.len()];
        let header = object(header, "header")?;
        let claims = object(claims, "claim")?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|e| JwtError::Malformed(format!("could not base64 decode signature: {e}")))?;
        match header.get("alg") {
            Some(Value::String(_)) => Ok(Self { header, claims, signed, signature }),
            _ => Err(JwtError::Unverifiable("signing method (alg) is unspecified".to_owned())),
        }
    }

    /// The id of the key, once the header is found to be one that we sign.
    pub(super) fn key_id(&self) -> Result<&str, JwtError> {
        let refused = |reason: &str| JwtError::Unverifiable(format!("error while executing keyfunc: {reason}"));
        let key_id = match self.header.get("kid") {
            None => return Err(refused("JWT token must have kid header")),
            Some(Value::String(key_id)) => key_id,
            Some(_) => return Err(refused("JWT token kid header must be a string")),
        };
        match self.header.get("alg").and_then(Value::as_str).unwrap_or_default() {
            "RS256" => Ok(key_id),
            alg => Err(refused(&format!("unsupported token alg {alg}. Allowed algorithm is RS256"))),
        }
    }

    /// The claims, once signature and times are checked. No leeway.
    pub(super) fn verify(self, key: &RsaPublicKey, now: Timestamp) -> Result<Map<String, Value>, JwtError> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(JwtError::Signature);
        }
        if date(&self.claims, "exp")?.is_some_and(|expiry| seconds(now) >= expiry) {
            return Err(JwtError::Expired);
        }
        if date(&self.claims, "nbf")?.is_some_and(|start| seconds(now) < start) {
            return Err(JwtError::NotYetValid);
        }
        date(&self.claims, "iat")?;
        Ok(self.claims)
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// A date in seconds since 1970; whole, with a fraction, or absent.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, JwtError> {
    match claim(claims, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(JwtError::Malformed(format!("could not JSON decode claim: {name} is no number"))),
    }
}

fn object(segment: &str, what: &str) -> Result<Map<String, Value>, JwtError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|e| JwtError::Malformed(format!("could not base64 decode {what}: {e}")))?;
    serde_json::from_slice(&bytes).map_err(|e| JwtError::Malformed(format!("could not JSON decode {what}: {e}")))
}

/// Signs claims.
pub(super) fn sign(claims: &impl Serialize, key_id: &str, key: &RsaPrivateKey) -> Result<String, KeyError> {
    let encode = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
    let header = json!({"alg": "RS256", "kid": key_id, "typ": "JWT"}).to_string();
    let claims = serde_json::to_vec(claims).map_err(|_| KeyError::Crypto("claim encoding"))?;
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(&claims));
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", encode(&signature)))
}
