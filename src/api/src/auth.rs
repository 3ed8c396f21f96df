//! Who is asking, and what the caller may do.

use http::{HeaderMap, Uri, header};
use identity::token::{KeyRing, UserClaims, Validator, secret_data};
use identity::{Action, LocalRequest, User};
use model::{Kind, Timestamp};

use crate::call::{Call, Connection};
use crate::errors::Problem;
use crate::settings::ApiState;

/// The user of a request: the administrator when it can only come from a program on this machine,
/// else the user of its token, else nobody.
///
/// # Errors
/// A bearer token that is not valid.
pub(crate) fn user(
    api: &ApiState,
    connection: Option<&Connection>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<User, Problem> {
    if api.settings.localhost_is_admin
        && let Some(admin) = local_admin(connection, uri, headers)
    {
        return Ok(admin);
    }
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or("Bearer "));
    match authorization.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) => of_token(api, token),
        None => Ok(User::anonymous()),
    }
}

fn local_admin(connection: Option<&Connection>, uri: &Uri, headers: &HeaderMap) -> Option<User> {
    let values = |name: &str| {
        let all = headers.get_all(name).iter();
        all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>()
    };
    let host = host(uri, headers).unwrap_or_default();
    identity::local_admin(&LocalRequest { peer: connection?.peer, host: &host, header: &values })
}

fn of_token(api: &ApiState, token: &str) -> Result<User, Problem> {
    let settings = &api.settings;
    let validator = Validator {
        ring: KeyRing::User,
        public_keys: &settings.user_token_public_keys,
        use_secrets: settings.validate_user_tokens_with_secrets,
        in_memory: settings.store_type == "memory",
    };
    let state = api.store.snapshot();
    let secret = |key: &model::Key| state.get(key).and_then(|secret| secret_data(secret));
    match validator.validate::<UserClaims>(token, &secret, Timestamp::now()) {
        Ok(claims) => Ok(User { name: claims.name, groups: claims.groups.unwrap_or_default() }.authenticated()),
        Err(error) => {
            tracing::info!(%error, "user token refused");
            Err(Problem::unauthenticated())
        }
    }
}

/// The authority that the client asked for: `Host`, or HTTP/2's `:authority`.
pub(crate) fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    match headers.get(header::HOST) {
        Some(host) => host.to_str().ok().map(str::to_owned),
        None => uri.authority().map(ToString::to_string),
    }
}

impl Call {
    /// Refuses what the user may not do.
    pub(crate) fn may(&self, action: Action<'_>) -> Result<(), Problem> {
        let rules = &self.settings().access;
        rules.check(&self.user, action).map_err(|denied| Problem::access_denied(denied.reason))
    }

    /// Refuses kinds that the user may not see or write.
    pub(crate) fn may_access(&self, kind: Kind) -> Result<(), Problem> {
        self.may(Action::Resource(kind))
    }
}
