//! Who may talk to whom: the cluster's certificate authority and its join token.
//!
//! Every replica holds the authority and signs its own certificate with it, anew from time to time;
//! a certificate proves membership and tells which member. The join token is the authority's
//! certificate, which the new replica thereby pins, and a secret that lets it in. The secret can be
//! replaced: of two, the one of the higher generation holds. The authority can be replaced in three
//! steps, each taken by all before the next one: all trust the new one beside the old, all show
//! certificates of the new one, the old one is trusted no more.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::authority::{Authority, Fingerprint, Root, SERVER_NAME};
use crate::codec::CodecError;
use crate::keys::write_private;
use crate::log::invalid;
use crate::rpc::Request;
use crate::types::ReplicaId;

const TOKEN_PREFIX: &str = "kuma-join";

const SECRET_BYTES: usize = 32;

/// In the file, before an authority that is trusted and not shown yet.
const NEXT: &str = "next\n";

/// In the file, before the certificate of an authority that is trusted and not shown any more.
const FORMER: &str = "former\n";

/// The cluster's authority and join secret. Clones share them.
#[derive(Clone)]
pub(crate) struct Pki {
    held: Arc<ArcSwap<Held>>,
    /// Held while the file is written, so that it never goes back.
    changing: Arc<Mutex<()>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Held {
    /// What own certificates are signed with, and what the join token pins.
    current: Authority,
    also: Also,
    secret: JoinSecret,
}

/// What is trusted beside the current authority, while it is replaced.
#[derive(Clone, PartialEq, Eq)]
enum Also {
    Nothing,
    /// Shown from the next step on.
    Next(Authority),
    /// Shown until the last step.
    Former(Root),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct JoinSecret {
    generation: u64,
    bytes: [u8; SECRET_BYTES],
}

impl JoinSecret {
    /// The secret that everybody who holds the authority has for a generation, without a word: a
    /// replacement that is gone on with by another leader must not bring a second one.
    fn of(authority: &Authority, generation: u64) -> Self {
        let digest = Sha256::digest(format!("kuma-cp join secret {generation}\n{}", authority.key()));
        Self { generation, bytes: digest.into() }
    }
}

/// One step of the replacement of the authority.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Trust this authority as well. Certificate and key as PEM.
    Trust { certificate: String, key: String },
    /// Show certificates of it, and let new replicas in with a token that pins it, and has the secret
    /// of this generation that follows from it.
    Show { authority: Fingerprint, generation: u64 },
    /// Trust it alone.
    Rely { authority: Fingerprint },
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Not its key.
            Self::Trust { .. } => f.write_str("Trust"),
            Self::Show { authority, generation } => write!(f, "Show({authority}, {generation})"),
            Self::Rely { authority } => write!(f, "Rely({authority})"),
        }
    }
}

/// How far a replica is in the replacement of the authority; JSON in [`crate::Vitals`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Trust {
    /// The authority of the certificates that it shows; empty without a replica listener.
    pub shown: String,
    /// One that it trusts already, and will show.
    pub next: Option<String>,
    /// One that it showed, and still trusts.
    pub former: Option<String>,
}

impl Trust {
    /// Whether two authorities are trusted.
    pub fn is_between(&self) -> bool {
        self.next.is_some() || self.former.is_some()
    }
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pki").field(&self.trust()).finish()
    }
}

/// What a new replica learns from the token.
#[derive(Clone)]
pub(crate) struct JoinToken {
    authority: Root,
    /// What it shows.
    pub(crate) secret: Vec<u8>,
}

impl Pki {
    fn new(held: Held) -> Self {
        Self { held: Arc::new(ArcSwap::from_pointee(held)), changing: Arc::default() }
    }

    fn first(current: Authority, secret: [u8; SECRET_BYTES]) -> Self {
        Self::new(Held { current, also: Also::Nothing, secret: JoinSecret { generation: 0, bytes: secret } })
    }

    /// A new authority and secret.
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        Ok(Self::first(Authority::generate()?, rand::random()))
    }

    /// The authority and secret that all replicas with this text have in common, without a word.
    pub(crate) fn of_shared_secret(text: &str) -> Result<Self, rcgen::Error> {
        let derived = |purpose: &str| Sha256::digest(format!("kuma-cp replicas {purpose}\n{text}"));
        Ok(Self::first(Authority::derived(&derived("authority").into())?, derived("join secret").into()))
    }

    /// How far the replacement of the authority is.
    pub(crate) fn trust(&self) -> Trust {
        let held = self.held.load();
        let named = |fingerprint: Fingerprint| Some(fingerprint.to_string());
        let (next, former) = match &held.also {
            Also::Nothing => (None, None),
            Also::Next(next) => (named(next.fingerprint()), None),
            Also::Former(former) => (None, named(former.fingerprint())),
        };
        Trust { shown: held.current.fingerprint().to_string(), next, former }
    }

    /// The step that makes others trust the authority that is to be shown at last: the one that was
    /// begun with, or a new one.
    pub(crate) fn trust_step(&self) -> Result<(Fingerprint, Step), rcgen::Error> {
        let held = self.held.load();
        let authority = match &held.also {
            Also::Former(_) => held.current.clone(),
            Also::Next(next) => next.clone(),
            Also::Nothing => Authority::following()?,
        };
        let step = Step::Trust { certificate: authority.root().pem().to_owned(), key: authority.key().to_owned() };
        Ok((authority.fingerprint(), step))
    }

    /// The step that makes others trust nothing but what is shown here.
    pub(crate) fn rely_step(&self) -> Step {
        Step::Rely { authority: self.held.load().current.fingerprint() }
    }

    /// Takes a step and writes the file.
    ///
    /// # Errors
    /// When it does not fit to what is held, or the file is not written; nothing is changed then.
    pub(crate) fn take_step(&self, step: &Step, file: &Path) -> Result<(), String> {
        self.change(file, |held| held.after(step))?.map_err(|error| error.to_string())
    }

    /// The authorities whose certificates are trusted.
    pub(crate) fn trusted(&self) -> Vec<Fingerprint> {
        self.held.load().roots().into_iter().map(Root::fingerprint).collect()
    }

    /// Generation of the join secret.
    pub(crate) fn generation(&self) -> u64 {
        self.held.load().secret.generation
    }

    /// The next join secret.
    pub(crate) fn next_secret(&self) -> (u64, [u8; SECRET_BYTES]) {
        (self.generation() + 1, rand::random())
    }

    /// Takes a join secret and writes the file, unless it has a newer one; tells whether it did.
    pub(crate) fn take_secret(&self, generation: u64, bytes: [u8; SECRET_BYTES], file: &Path) -> io::Result<bool> {
        let newer = |held: &Held| {
            if generation > held.secret.generation {
                Ok(Held { secret: JoinSecret { generation, bytes }, ..held.clone() })
            } else {
                Err(())
            }
        };
        match self.change(file, newer) {
            Ok(written) => written.map(|()| true),
            Err(()) => Ok(false),
        }
    }

    /// Holds what another replica does and writes the file; tells whether that is usable.
    pub(crate) fn adopt(&self, text: &str, file: &Path) -> io::Result<bool> {
        match self.change(file, |_| Held::parse(text).ok_or(())) {
            Ok(written) => written.map(|()| true),
            Err(()) => Ok(false),
        }
    }

    /// Changes what is held, on disk first.
    fn change<E>(&self, file: &Path, change: impl FnOnce(&Held) -> Result<Held, E>) -> Result<io::Result<()>, E> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.held.load();
        let changed = change(&held)?;
        if changed == **held {
            return Ok(Ok(()));
        }
        let written = write_private(file, changed.to_text().as_bytes());
        Ok(written.map(|()| self.held.store(Arc::new(changed))))
    }

    /// What tells another replica the join secret.
    pub(crate) fn secret_request(&self) -> Request {
        let JoinSecret { generation, bytes } = self.held.load().secret;
        Request::Secret { generation, secret: bytes }
    }

    /// Reads the file; `None` when there is none.
    pub(crate) fn load(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .ok_or_else(|| invalid(CodecError::Corrupted(format!("{} is damaged", path.display())))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file, for the owner only.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        write_private(path, self.to_text().as_bytes())
    }

    /// All of it as text: one line with the secret and its generation unless that is 0, certificate,
    /// key. While the authority is replaced: a line that says how the other one stands, its
    /// certificate, and the key of one that is to come.
    pub(crate) fn to_text(&self) -> String {
        self.held.load().to_text()
    }

    /// Reads what [`Self::to_text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Held::parse(text).map(Self::new)
    }

    /// The token that lets a new replica in. Whoever has it can become a replica.
    pub(crate) fn token(&self) -> String {
        let held = self.held.load();
        format!("{TOKEN_PREFIX}.{}.{}", held.current.root().to_token(), BASE64.encode(held.secret.bytes))
    }

    /// Whether this is the join secret, in a time that does not tell how much of it is right.
    pub(crate) fn admits(&self, secret: &[u8]) -> bool {
        Sha256::digest(secret) == Sha256::digest(self.held.load().secret.bytes)
    }

    /// The listener's side: a client certificate is optional, because a new replica has none; the
    /// service refuses all but joining without one.
    pub(crate) fn server_tls(&self, id: ReplicaId, renewal: Duration) -> Result<ServerTlsConfig, rcgen::Error> {
        let held = self.held.load();
        let (certificate, key) = held.current.leaf(id, renewal)?;
        let roots: String = held.roots().into_iter().map(Root::pem).collect();
        Ok(ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(roots))
            .client_auth_optional(true))
    }

    /// The caller's side.
    pub(crate) fn client_tls(&self, id: ReplicaId, renewal: Duration) -> Result<ClientTlsConfig, rcgen::Error> {
        let held = self.held.load();
        let (certificate, key) = held.current.leaf(id, renewal)?;
        Ok(trusting(&held.roots()).identity(Identity::from_pem(certificate, key)))
    }
}

impl Held {
    /// Whose certificates are trusted, the own first.
    fn roots(&self) -> Vec<&Root> {
        let also = match &self.also {
            Also::Nothing => None,
            Also::Next(next) => Some(next.root()),
            Also::Former(former) => Some(former),
        };
        std::iter::once(self.current.root()).chain(also).collect()
    }

    /// What is held after a step. One that was taken already changes nothing.
    fn after(&self, step: &Step) -> Result<Self, String> {
        let shown = self.current.fingerprint();
        match step {
            Step::Trust { certificate, key } => {
                let authority = Authority::parse(certificate, key).ok_or("it is no authority")?;
                match &self.also {
                    _ if authority.fingerprint() == shown => Ok(self.clone()),
                    Also::Former(_) => Err("it still trusts the one before the one that it shows".to_owned()),
                    // One that was begun with before and that not everybody got: nobody shows it.
                    Also::Nothing | Also::Next(_) => Ok(Self { also: Also::Next(authority), ..self.clone() }),
                }
            }
            Step::Show { authority, generation } => {
                let shows = match &self.also {
                    _ if *authority == shown => self.clone(),
                    Also::Next(next) if next.fingerprint() == *authority => {
                        let also = Also::Former(self.current.root().clone());
                        Self { current: next.clone(), also, ..self.clone() }
                    }
                    _ => return Err("it does not have the new authority".to_owned()),
                };
                let newer = *generation > self.secret.generation;
                let secret = if newer { JoinSecret::of(&shows.current, *generation) } else { self.secret };
                Ok(Self { secret, ..shows })
            }
            Step::Rely { authority } if *authority == shown => Ok(Self { also: Also::Nothing, ..self.clone() }),
            Step::Rely { .. } => Err("it shows another authority".to_owned()),
        }
    }

    fn to_text(&self) -> String {
        let JoinSecret { generation, bytes } = self.secret;
        let generation = if generation > 0 { format!(" {generation}") } else { String::new() };
        let whole = |authority: &Authority| format!("{}{}", authority.root().pem(), authority.key());
        let also = match &self.also {
            Also::Nothing => String::new(),
            Also::Next(next) => format!("{NEXT}{}", whole(next)),
            Also::Former(former) => format!("{FORMER}{}", former.pem()),
        };
        format!("{}{generation}\n{}{also}", BASE64.encode(bytes), whole(&self.current))
    }

    fn parse(text: &str) -> Option<Self> {
        let (secret, rest) = text.split_once('\n')?;
        let (secret, generation) = secret.split_once(' ').unwrap_or((secret, "0"));
        let after = |line: &str| rest.split_once(&format!("\n{line}"));
        let (current, also) = match (after(NEXT), after(FORMER)) {
            (None, None) => (rest, Also::Nothing),
            (Some((current, next)), None) => (current, Also::Next(authority(next)?)),
            (None, Some((current, former))) => (current, Also::Former(Root::parse(former)?)),
            (Some(_), Some(_)) => return None,
        };
        let secret =
            JoinSecret { generation: generation.parse().ok()?, bytes: BASE64.decode(secret).ok()?.try_into().ok()? };
        Some(Self { current: authority(current)?, also, secret })
    }
}

/// Certificate and key, one behind the other.
fn authority(text: &str) -> Option<Authority> {
    let second = text.match_indices("-----BEGIN ").nth(1)?.0;
    let (certificate, key) = text.split_at(second);
    // The line break before a line that says what follows was taken with that line.
    let key = if key.ends_with('\n') { key.to_owned() } else { format!("{key}\n") };
    Authority::parse(certificate, &key)
}

fn trusting(roots: &[&Root]) -> ClientTlsConfig {
    let roots = roots.iter().map(|root| Certificate::from_pem(root.pem()));
    ClientTlsConfig::new().domain_name(SERVER_NAME).ca_certificates(roots)
}

impl JoinToken {
    /// Reads a token; `None` when it is none.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        let mut parts = token.trim().split('.');
        let (prefix, authority, secret) = (parts.next()?, parts.next()?, parts.next()?);
        if prefix != TOKEN_PREFIX || parts.next().is_some() {
            return None;
        }
        Some(Self { authority: Root::of_token(authority)?, secret: BASE64.decode(secret).ok()? })
    }

    /// The new replica's side of its first call: it trusts nobody but the pinned authority.
    pub(crate) fn client_tls(&self) -> ClientTlsConfig {
        trusting(&[&self.authority])
    }
}

#[cfg(test)]
mod tests;
