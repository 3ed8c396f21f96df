//! Which default resources a state lacks, ready to be written.

use anyhow::{Context, Result};
use identity::RsaPrivateKey;
use identity::token::{DEFAULT_VALIDITY_HOURS, KeyRing, SigningKey, UserClaims, issue, latest_signing_key};
use identity::user::ADMIN;
use identity::x509::{Subject as Authority, generate_authority};
use jiff::SignedDuration;
use model::defaults::{hostname_generators, mesh_policies};
use model::kinds::config::Config;
use model::kinds::mesh::Mesh;
use model::kinds::secret::Secret;
use model::kinds::zone::Zone;
use model::labels::{self, Site, Subject};
use model::registry::{CONFIG, GLOBAL_SECRET, HOSTNAME_GENERATOR, MESH, SECRET, ZONE};
use model::{Key, Labels, Spec, Timestamp};
use store::{Put, State, StatusChange};

use crate::settings::{Mode, Settings};

/// The resource that holds the id of the whole control plane.
pub(crate) const CLUSTER_ID: &str = "kuma-cluster-id";
/// The mesh that exists from the start.
const DEFAULT_MESH: &str = "default";

/// Everything that is missing.
pub(super) fn all(state: &State, settings: &Settings) -> Result<Vec<Put>> {
    let mut missing = Missing { state, site: settings.site(), puts: Vec::new() };
    let is_global = settings.mode == Mode::Global;
    let federated = settings.is_federated_zone();
    if !is_global {
        missing.authority("envoy-admin-ca", Authority::ENVOY_ADMIN)?;
    }
    missing.authority("inter-cp-ca", Authority::INTER_CP)?;
    if let Mode::Zone { name, .. } = &settings.mode {
        missing.labelled(Key::global(ZONE, name), Labels::new(), Spec::of(Zone::default())?, None)?;
    }
    if !federated {
        missing.put(Key::global(CONFIG, CLUSTER_ID), || {
            Ok(Spec::of(Config { config: uuid::Uuid::new_v4().to_string() })?)
        })?;
        missing.meshes(settings.skip_mesh_creation)?;
        missing.signing_key(&KeyRing::Zone)?;
    }
    if !settings.skip_hostname_generators {
        for generator in hostname_generators(&missing.site.clone()) {
            let key = Key::global(HOSTNAME_GENERATOR, generator.name);
            missing.labelled(key, generator.labels, Spec::of(generator.spec)?, None)?;
        }
    }
    let user_key = missing.signing_key(&KeyRing::User)?;
    if settings.api.bootstrap_admin_token {
        missing.admin_token(user_key)?;
    }
    Ok(missing.puts)
}

struct Missing<'a> {
    state: &'a State,
    site: Site,
    puts: Vec<Put>,
}

impl Missing<'_> {
    /// Adds a resource without labels, unless it is there.
    fn put(&mut self, key: Key, spec: impl FnOnce() -> Result<Spec>) -> Result<()> {
        if self.state.get(&key).is_none() {
            self.add(key, Labels::new(), spec()?, None);
        }
        Ok(())
    }

    /// Adds a resource with the labels that a writer would get, unless it is there.
    fn labelled(&mut self, key: Key, given: Labels, spec: Spec, owner: Option<Key>) -> Result<()> {
        if self.state.get(&key).is_some() {
            return Ok(());
        }
        let subject = Subject::new(key.kind, &spec, &key.mesh, &key.name);
        let labels = labels::compute(&given, &subject, &self.site).with_context(|| format!("labels of {key}"))?;
        self.add(key, labels, spec, owner);
        Ok(())
    }

    fn add(&mut self, key: Key, labels: Labels, spec: Spec, owner: Option<Key>) {
        self.puts.push(Put { key, labels, spec, status: StatusChange::Keep, owner, times: None });
    }

    fn authority(&mut self, name: &str, subject: Authority<'_>) -> Result<()> {
        self.put(Key::global(GLOBAL_SECRET, name), || {
            let pair = generate_authority(subject, Timestamp::now())?;
            Ok(Spec::of(Secret::new(pair.to_bundle()))?)
        })
    }

    /// The default mesh with what belongs to it, and a signing key for each mesh that has none.
    fn meshes(&mut self, skip_default: bool) -> Result<()> {
        let default = Key::global(MESH, DEFAULT_MESH);
        if !skip_default && self.state.get(&default).is_none() {
            self.labelled(default.clone(), Labels::new(), Spec::of(Mesh::default())?, None)?;
            self.mesh_key(&default)?;
            for (kind, name, spec) in mesh_policies(DEFAULT_MESH, &[]) {
                self.labelled(Key::new(kind, DEFAULT_MESH, &name), Labels::new(), spec, Some(default.clone()))?;
            }
        }
        let meshes: Vec<Key> = self.state.of_kind(MESH).map(|mesh| mesh.key.clone()).collect();
        meshes.iter().try_for_each(|mesh| self.mesh_key(mesh))
    }

    fn mesh_key(&mut self, mesh: &Key) -> Result<()> {
        let ring = KeyRing::dataplane(&mesh.name);
        let secrets = self.state.in_mesh(SECRET, &mesh.name).map(|secret| &**secret);
        if latest_signing_key(&ring, secrets).is_err_and(|e| e.is_not_found()) {
            let spec = Spec::of(Secret::new(RsaPrivateKey::generate()?.to_pem()?))?;
            self.add(ring.secret("1"), Labels::new(), spec, Some(mesh.clone()));
        }
        Ok(())
    }

    /// The newest key of a ring of global secrets, which is made when there is none.
    fn signing_key(&mut self, ring: &KeyRing) -> Result<Option<SigningKey>> {
        match latest_signing_key(ring, self.state.of_kind(GLOBAL_SECRET).map(|secret| &**secret)) {
            Ok(key) => Ok(Some(key)),
            Err(error) if error.is_not_found() => {
                let key = RsaPrivateKey::generate()?;
                let spec = Spec::of(Secret::new(key.to_pem()?))?;
                self.add(ring.secret("1"), Labels::new(), spec, None);
                Ok(Some(SigningKey { id: "1".to_owned(), key }))
            }
            Err(error) => {
                tracing::warn!(%error, prefix = ring.prefix(), "the newest signing key cannot be read");
                Ok(None)
            }
        }
    }

    fn admin_token(&mut self, key: Option<SigningKey>) -> Result<()> {
        let Some(signing_key) = key else { return Ok(()) };
        self.put(Key::global(GLOBAL_SECRET, "admin-user-token"), || {
            let claims = UserClaims { name: ADMIN.to_owned(), groups: Some(vec![ADMIN.to_owned()]) };
            let validity = SignedDuration::from_hours(DEFAULT_VALIDITY_HOURS);
            let token = issue(&claims, validity, &signing_key, Timestamp::now())?;
            Ok(Spec::of(Secret::new(token))?)
        })
    }
}
