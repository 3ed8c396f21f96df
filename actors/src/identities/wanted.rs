//! Which certificate a proxy needs by what is stored.

use std::time::Duration;

use identity::CertificatePair;
use identity::x509::{LeafKey, validity};
use jiff::SignedDuration;
use model::kinds::conditions::ConditionStatus;
use model::kinds::mesh_identity::{self, Bundled, MeshIdentity, MeshIdentityStatus, ProviderType};
use model::kinds::mesh_tls::MeshTls;
use model::registry::{MESH_IDENTITY, MESH_TLS};
use model::spiffe::SpiffeId;
use model::{Kri, Resource};
use store::State;
use xds::{ContentHash, IdentitySource, WorkloadIdentity};

use crate::admission::ProxyId;
use crate::authority;

/// How long a proxy waits for its SPIRE agent when the MeshIdentity does not say.
const SPIRE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a certificate is made from.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Changes with whatever asks for another certificate.
    pub(crate) need: ContentHash,
    /// Identifier of the MeshIdentity.
    pub(crate) kri: Kri,
    /// Whom it names.
    pub(crate) spiffe_id: SpiffeId,
    /// Which kind of key it is for.
    pub(crate) leaf_key: LeafKey,
    /// How long it is valid.
    pub(crate) validity: SignedDuration,
    /// Who signs it.
    pub(crate) authority: CertificatePair,
    /// Hash of `authority`.
    pub(crate) authority_hash: ContentHash,
}

/// What a proxy needs.
#[derive(Clone, Debug)]
pub(crate) enum Need {
    /// No identity: no MeshIdentity is for it, or the one that is was never ready.
    Nothing,
    /// One that the SPIRE agent beside it vouches for.
    Spire(WorkloadIdentity),
    /// This one.
    Certificate(Box<Wanted>),
    /// One that cannot be made now. It must not run without.
    Unavailable(String),
}

impl Need {
    /// The need of a proxy.
    pub(crate) fn of(state: &State, id: &ProxyId, zone: &str) -> Self {
        let Some(dataplane) = state.get(&id.dataplane()) else { return Self::Nothing };
        let identities = state.in_mesh(MESH_IDENTITY, &id.mesh);
        let Some(identity) = mesh_identity::best_match(identities, &dataplane.meta.labels) else {
            return Self::Nothing;
        };
        if !is_ready(identity) {
            let was_ready = authority::was_ready(state, identity);
            let why = || format!("{} is not ready any more", identity.key);
            return if was_ready { Self::Unavailable(why()) } else { Self::Nothing };
        }
        let Some(bundled) = authority::bundled(identity) else {
            return match spire(identity, dataplane, zone) {
                Ok(workload) => workload.map_or(Self::Nothing, Self::Spire),
                Err(why) => Self::Unavailable(why),
            };
        };
        match wanted(state, identity, bundled, dataplane, zone) {
            Ok(wanted) => Self::Certificate(Box::new(wanted)),
            Err(why) => Self::Unavailable(why),
        }
    }
}

fn is_ready(identity: &Resource) -> bool {
    let ready = identity.status::<MeshIdentityStatus>().and_then(|status| status.condition("Ready"));
    ready.is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// The identity of a proxy whose SPIRE agent gives the certificate; `None` with other providers.
fn spire(identity: &Resource, dataplane: &Resource, zone: &str) -> Result<Option<WorkloadIdentity>, String> {
    let provider = identity.spec::<MeshIdentity>().and_then(|spec| spec.provider.as_ref());
    let Some(provider) = provider.filter(|provider| provider.kind == ProviderType::Spire) else { return Ok(None) };
    let spiffe_id = authority::spiffe_id(identity, &dataplane.meta.labels, zone).map_err(|e| e.to_string())?;
    let timeout = provider.spire.as_ref().and_then(|spire| spire.agent.as_ref()?.timeout.as_ref());
    let connect_timeout = timeout.map_or(SPIRE_TIMEOUT, |timeout| timeout.to_std());
    let source = IdentitySource::Spire { connect_timeout };
    Ok(Some(WorkloadIdentity { mesh_identity: Kri::of(identity), spiffe_id, source }))
}

fn wanted(
    state: &State,
    identity: &Resource,
    bundled: &Bundled,
    dataplane: &Resource,
    zone: &str,
) -> Result<Wanted, String> {
    let id = authority::spiffe_id(identity, &dataplane.meta.labels, zone).map_err(|e| e.to_string())?;
    let spiffe_id = SpiffeId::parse(&id).map_err(|e| e.to_string())?;
    let pair = authority::load(state, identity, bundled).map_err(|e| e.to_string())?;
    let expiry = bundled.certificate_parameters.as_ref().and_then(|parameters| parameters.expiry.as_ref());
    let validity = validity(expiry.map(|expiry| SignedDuration::from_nanos(expiry.nanos)));
    let kri = Kri::of(identity);
    let authority_hash = ContentHash::of(pair.to_bundle().as_bytes());
    let leaf_key = leaf_key(state, &dataplane.key.mesh);
    let need = [&*kri.to_string(), spiffe_id.as_str(), &validity.as_secs().to_string(), &format!("{leaf_key:?}")]
        .iter()
        .fold(authority_hash, |hash, part| hash.mix(ContentHash::of(part.as_bytes())));
    Ok(Wanted { need, kri, spiffe_id, leaf_key, validity, authority: pair, authority_hash })
}

/// Which kind of key workloads of a mesh get. Who names ciphers may have named those for one kind of
/// key alone, which is the one that the authority has.
fn leaf_key(state: &State, mesh: &str) -> LeafKey {
    let names_ciphers = |policy: &MeshTls| policy.rules.iter().any(|rule| rule.default.tls_ciphers.is_some());
    let mut policies = state.in_mesh(MESH_TLS, mesh).filter_map(|policy| policy.spec::<MeshTls>());
    if policies.any(names_ciphers) { LeafKey::LikeAuthority } else { LeafKey::Quick }
}

#[cfg(test)]
mod tests {
    use model::registry::{DATAPLANE, MESH_TRUST};
    use model::{Key, Kind, Labels, Timestamp};
    use serde_json::{Value, json};
    use store::Txn;

    use super::*;

    fn put(state: &mut State, kind: Kind, name: &str, spec: Value, status: Option<Value>) {
        let key = Key::new(kind, "default", name);
        let mut txn = Txn::new().put(key.clone(), Labels::new(), kind.codec.admit(spec).unwrap());
        if let Some(status) = status {
            txn = txn.put_status(key, (kind.codec.decode_status)(status).unwrap());
        }
        state.apply(&txn, Timestamp::UNIX_EPOCH, 1).unwrap();
    }

    /// A dataplane with an identity that is not ready.
    fn state() -> State {
        let mut state = State::new();
        put(&mut state, DATAPLANE, "web", json!({"networking": {"address": "10.0.0.1"}}), None);
        let bundled = json!({"insecureAllowSelfSigned": true, "autogenerate": {"enabled": true}});
        let spec = json!({"selector": {"dataplane": {"matchLabels": {}}},
            "provider": {"type": "Bundled", "bundled": bundled}});
        let failed = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "Failure", "message": ""}]});
        put(&mut state, MESH_IDENTITY, "all", spec, Some(failed));
        state
    }

    fn need(state: &State) -> Need {
        Need::of(state, &ProxyId { mesh: "default".into(), name: "web".into() }, "default")
    }

    #[test]
    fn an_identity_that_was_never_ready_asks_for_nothing() {
        assert!(matches!(need(&state()), Need::Nothing));
    }

    #[test]
    fn an_identity_that_was_ready_never_means_plain_text() {
        let mut state = state();
        let bundle = json!([{"type": "Pem", "pem": {"value": "x"}}]);
        let trust = json!({"trustDomain": "default.default.mesh.local", "caBundles": bundle});
        let origin = json!({"origin": {"kri": "kri_mid_default___all_"}});
        put(&mut state, MESH_TRUST, "all", trust, Some(origin));
        assert!(matches!(need(&state), Need::Unavailable(_)));
    }
}
