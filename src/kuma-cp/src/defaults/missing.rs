//! Which default resources a state lacks, ready to be written.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
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

use super::keys::Keys;
use crate::settings::{Mode, Settings};

/// The resource that holds the id of the whole control plane.
pub(crate) const CLUSTER_ID: &str = "kuma-cluster-id";
/// The mesh that exists from the start.
const DEFAULT_MESH: &str = "default";

/// How many keys are made at the same time.
const KEYS_AT_A_TIME: usize = 8;

/// What is missing of that which nobody needs at once: the key of zone tokens.
pub(super) fn that_may_wait(state: &State, settings: &Settings, ahead: &Arc<Keys>) -> Result<Vec<Put>> {
    let mut missing = Missing::of(state, settings, ahead);
    if !settings.is_federated_zone() {
        missing.zone_key();
    }
    make_keys(missing.keys)
}

/// What is missing of everything else.
pub(super) fn that_is_needed(state: &State, settings: &Settings, ahead: &Arc<Keys>) -> Result<Vec<Put>> {
    let mut missing = Missing::of(state, settings, ahead);
    let is_global = settings.mode == Mode::Global;
    let federated = settings.is_federated_zone();
    if !is_global {
        missing.authority("envoy-admin-ca", Authority::ENVOY_ADMIN);
    }
    missing.authority("inter-cp-ca", Authority::INTER_CP);
    if let Mode::Zone { name, .. } = &settings.mode {
        missing.labelled(Key::global(ZONE, name), Labels::new(), Spec::of(Zone::default())?, None)?;
    }
    if !federated {
        missing.put(Key::global(CONFIG, CLUSTER_ID), || {
            Ok(Spec::of(Config { config: uuid::Uuid::new_v4().to_string() })?)
        })?;
        missing.meshes(settings.skip_mesh_creation)?;
    }
    if !settings.skip_hostname_generators {
        for generator in hostname_generators(&missing.site.clone()) {
            let key = Key::global(HOSTNAME_GENERATOR, generator.name);
            missing.labelled(key, generator.labels, Spec::of(generator.spec)?, None)?;
        }
    }
    missing.user_key(settings.api.bootstrap_admin_token)?;
    let Missing { mut puts, keys, .. } = missing;
    puts.extend(make_keys(keys)?);
    Ok(puts)
}

/// Makes one key and what holds it; a good part of a second.
type MakeKey = Box<dyn FnOnce() -> Result<Vec<Put>> + Send>;

/// Makes all keys at the same time, each on a thread of its own, some at a time.
fn make_keys(keys: Vec<MakeKey>) -> Result<Vec<Put>> {
    let mut puts = Vec::new();
    let mut left = keys.into_iter();
    loop {
        let some: Vec<MakeKey> = left.by_ref().take(KEYS_AT_A_TIME).collect();
        if some.is_empty() {
            return Ok(puts);
        }
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = some.into_iter().map(|make| scope.spawn(make)).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for made in made {
            puts.extend(made.map_err(|_| anyhow!("a thread that made a key panicked"))??);
        }
    }
}

/// A resource without a status that is to be written.
fn put(key: Key, labels: Labels, spec: Spec, owner: Option<Key>) -> Put {
    Put { key, labels, spec, status: StatusChange::Keep, owner, times: None }
}

struct Missing<'a> {
    state: &'a State,
    ahead: Arc<Keys>,
    site: Site,
    puts: Vec<Put>,
    keys: Vec<MakeKey>,
}

impl<'a> Missing<'a> {
    fn of(state: &'a State, settings: &Settings, ahead: &Arc<Keys>) -> Self {
        Self { state, ahead: Arc::clone(ahead), site: settings.site(), puts: Vec::new(), keys: Vec::new() }
    }

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
        self.puts.push(put(key, labels, spec, owner));
    }

    fn authority(&mut self, name: &str, subject: Authority<'static>) {
        let key = Key::global(GLOBAL_SECRET, name);
        if self.state.get(&key).is_none() {
            self.keys.push(Box::new(move || {
                let pair = generate_authority(subject, Timestamp::now())?;
                Ok(vec![put(key, Labels::new(), Spec::of(Secret::new(pair.to_bundle()))?, None)])
            }));
        }
    }

    /// The default mesh with what belongs to it, and a signing key for each mesh that has none.
    fn meshes(&mut self, skip_default: bool) -> Result<()> {
        let default = Key::global(MESH, DEFAULT_MESH);
        if !skip_default && self.state.get(&default).is_none() {
            self.labelled(default.clone(), Labels::new(), Spec::of(Mesh::default())?, None)?;
            self.mesh_key(&default);
            for (kind, name, spec) in mesh_policies(DEFAULT_MESH, &[]) {
                self.labelled(Key::new(kind, DEFAULT_MESH, &name), Labels::new(), spec, Some(default.clone()))?;
            }
        }
        let meshes: Vec<Key> = self.state.of_kind(MESH).map(|mesh| mesh.key.clone()).collect();
        meshes.iter().for_each(|mesh| self.mesh_key(mesh));
        Ok(())
    }

    fn mesh_key(&mut self, mesh: &Key) {
        let ring = KeyRing::dataplane(&mesh.name);
        let secrets = self.state.in_mesh(SECRET, &mesh.name).map(|secret| &**secret);
        if latest_signing_key(&ring, secrets).is_err_and(|e| e.is_not_found()) {
            let (key, owner, ahead) = (ring.secret("1"), mesh.clone(), Arc::clone(&self.ahead));
            self.keys.push(Box::new(move || Ok(vec![new_signing_key(key, Some(owner), &ahead)?.0])));
        }
    }

    fn zone_key(&mut self) {
        if matches!(self.newest_key(&KeyRing::Zone), Ok(None)) {
            let (key, ahead) = (KeyRing::Zone.secret("1"), Arc::clone(&self.ahead));
            self.keys.push(Box::new(move || Ok(vec![new_signing_key(key, None, &ahead)?.0])));
        }
    }

    /// The key of users' tokens, and the administrator's token.
    fn user_key(&mut self, with_admin_token: bool) -> Result<()> {
        let token = Key::global(GLOBAL_SECRET, "admin-user-token");
        let lacks_token = with_admin_token && self.state.get(&token).is_none();
        match self.newest_key(&KeyRing::User) {
            Ok(Some(key)) if lacks_token => self.puts.push(admin_token(token, &key)?),
            Ok(Some(_)) | Err(Unreadable) => {}
            Ok(None) => {
                let (secret, ahead) = (KeyRing::User.secret("1"), Arc::clone(&self.ahead));
                self.keys.push(Box::new(move || {
                    let (written, key) = new_signing_key(secret, None, &ahead)?;
                    let token = lacks_token.then(|| admin_token(token, &key)).transpose()?;
                    Ok(std::iter::once(written).chain(token).collect())
                }));
            }
        }
        Ok(())
    }

    /// The newest key of a ring of global secrets; `None` when there is none.
    fn newest_key(&self, ring: &KeyRing) -> Result<Option<SigningKey>, Unreadable> {
        match latest_signing_key(ring, self.state.of_kind(GLOBAL_SECRET).map(|secret| &**secret)) {
            Ok(key) => Ok(Some(key)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => {
                tracing::warn!(%error, prefix = ring.prefix(), "the newest signing key cannot be read");
                Err(Unreadable)
            }
        }
    }
}

/// The newest key of a ring is there and cannot be read.
struct Unreadable;

/// A new signing key with the number 1, and the secret that holds it.
fn new_signing_key(secret: Key, owner: Option<Key>, ahead: &Keys) -> Result<(Put, SigningKey)> {
    let key = ahead.take()?;
    let spec = Spec::of(Secret::new(key.to_pem()?))?;
    Ok((put(secret, Labels::new(), spec, owner), SigningKey { id: "1".to_owned(), key }))
}

fn admin_token(secret: Key, signing_key: &SigningKey) -> Result<Put> {
    let claims = UserClaims { name: ADMIN.to_owned(), groups: Some(vec![ADMIN.to_owned()]) };
    let validity = SignedDuration::from_hours(DEFAULT_VALIDITY_HOURS);
    let token = issue(&claims, validity, signing_key, Timestamp::now())?;
    Ok(put(secret, Labels::new(), Spec::of(Secret::new(token))?, None))
}
