//! Issuing tokens, in the control plane or offline with a key from a file.

use jiff::SignedDuration;
use model::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::claims::Claims;
use super::jwt;
use super::keys::SigningKey;
use crate::rsa::KeyError;

/// How long dataplane and zone tokens are valid when nobody says: ten years, in hours.
pub const DEFAULT_VALIDITY_HOURS: i64 = 24 * 365 * 10;

/// How far issuing is dated back, for clocks that run behind.
const CLOCK_SKEW_S: i64 = 5;

#[derive(Serialize)]
struct Registered<'a, C> {
    #[serde(flatten)]
    claims: &'a C,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
}

/// Issues a token that expires at `now + valid_for` (a negative time makes an expired one).
///
/// # Errors
/// When the key cannot sign.
pub fn issue<C: Claims>(
    claims: &C,
    valid_for: SignedDuration,
    key: &SigningKey,
    now: Timestamp,
) -> Result<String, KeyError> {
    let issued = now.as_second().saturating_sub(CLOCK_SKEW_S);
    let expiry = now.as_second().saturating_add(valid_for.as_secs());
    let registered = Registered { claims, exp: expiry, nbf: issued, iat: issued, jti: Uuid::new_v4().to_string() };
    jwt::sign(&registered, &key.id, &key.key)
}
