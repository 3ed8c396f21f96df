//! Tokens: JWTs that name a user, a dataplane or a zone, and the keys that vouch for them.
//!
//! Everything here is a function of its inputs: keys, secrets and the time are passed in.

mod claims;
mod dataplane;
mod issue;
mod jwt;
mod keys;
mod validate;

pub use claims::{Claims, DataplaneClaims, TokenId, UserClaims, ZoneClaims};
pub use dataplane::{DataplaneRefusal, DataplaneSubject};
pub use issue::{DEFAULT_VALIDITY_HOURS, issue};
pub use jwt::JwtError;
pub use keys::{KeyNotFound, KeyRing, SigningKey, SigningKeyError, latest_signing_key, secret_data, secret_spec};
pub use validate::{PublicKeyEntry, TokenError, Validator};

#[cfg(test)]
mod tests;
