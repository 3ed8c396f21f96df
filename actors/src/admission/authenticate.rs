//! Whether a credential is that of a Dataplane.

use identity::token::{DataplaneClaims, DataplaneSubject, KeyRing, PublicKeyEntry, Validator, secret_data};
use model::kinds::mesh_identity;
use model::registry::MESH_IDENTITY;
use model::spiffe::derives_from_workload;
use model::{Key, Labels, Timestamp};
use store::State;

use super::path_template;
use super::refusal::Refusal;

/// How proxies prove who they are.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// They do not: every Dataplane is accepted.
    None,
    /// By a dataplane token.
    Token {
        /// Keys of the configuration, asked before stored ones.
        public_keys: Vec<PublicKeyEntry>,
        /// Whether keys among the secrets of the mesh are asked as well.
        use_secrets: bool,
        /// Whether the store forgets its keys with the process: a hint in the text of errors.
        in_memory: bool,
    },
}

/// A Dataplane that claims a credential.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) mesh: &'a str,
    pub(crate) name: &'a str,
    pub(crate) labels: &'a Labels,
}

impl Authentication {
    /// Checks that `credential` was given to `subject`.
    pub(crate) fn check(
        &self,
        state: &State,
        credential: &str,
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Self::Token { public_keys, use_secrets, in_memory } = self else { return Ok(()) };
        let validator = Validator {
            ring: KeyRing::dataplane(subject.mesh),
            public_keys,
            use_secrets: *use_secrets,
            in_memory: *in_memory,
        };
        let secret = |key: &Key| state.get(key).and_then(|resource| secret_data(resource));
        let claims: DataplaneClaims =
            validator.validate(credential, &secret, now).map_err(|error| Refusal::Authentication(error.to_string()))?;
        let identities = state.in_mesh(MESH_IDENTITY, subject.mesh);
        let from_workload = mesh_identity::best_match(identities, subject.labels)
            .is_some_and(|identity| derives_from_workload(path_template(identity, subject.labels)));
        let subject = DataplaneSubject {
            name: subject.name,
            mesh: subject.mesh,
            labels: subject.labels,
            identity_from_workload: from_workload,
        };
        claims.admit(&subject).map_err(|error| Refusal::Authentication(error.to_string()))
    }
}
