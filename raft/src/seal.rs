//! Sealing of secrets: AES-256-GCM-SIV under the cluster key, so that a stolen disk or backup
//! shows none of them.
//!
//! The ring holds every key that stored data may still be sealed with; new data is sealed with the
//! active one. The key of a resource is bound in as associated data, so a sealed spec cannot be moved
//! to another resource. RFC 8452: the cipher tolerates a repeated nonce, which are random here.

use std::collections::BTreeMap;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use model::{Kind, registry};
use serde::{Deserialize, Serialize};

use crate::codec::CodecError;

/// Bytes of a cluster key.
pub(crate) const KEY_BYTES: usize = 32;

const NONCE_BYTES: usize = 12;

/// A sealed text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// The key that sealed it.
    pub(crate) key_id: u32,
    /// The nonce.
    pub(crate) nonce: [u8; NONCE_BYTES],
    /// Ciphertext and tag.
    pub(crate) text: serde_bytes::ByteBuf,
}

/// The cluster keys of a replica, by id.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Keyring {
    keys: BTreeMap<u32, [u8; KEY_BYTES]>,
    /// The key that seals new data.
    active: u32,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

impl Keyring {
    /// A ring with one new random key.
    pub(crate) fn generate() -> Self {
        let mut ring = Self::default();
        ring.active = ring.add();
        ring
    }

    /// Adds a new random key, which does not seal yet; returns its id.
    pub(crate) fn add(&mut self) -> u32 {
        let id = self.keys.keys().next_back().map_or(1, |id| id + 1);
        self.keys.insert(id, rand::random());
        id
    }

    /// Adds a key of another replica.
    pub(crate) fn insert(&mut self, id: u32, key: [u8; KEY_BYTES]) {
        self.keys.insert(id, key);
    }

    /// Seals with this key from now on.
    pub(crate) fn activate(&mut self, id: u32) {
        self.active = id;
    }

    /// The id of the key that seals new data.
    pub(crate) fn active(&self) -> u32 {
        self.active
    }

    /// Whether the active key is there.
    pub(crate) fn is_usable(&self) -> bool {
        self.keys.contains_key(&self.active)
    }

    /// All keys, oldest first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, &[u8; KEY_BYTES])> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }

    /// Seals a text for the resource that `bound_to` names.
    pub(crate) fn seal(&self, text: &[u8], bound_to: &str) -> Result<Sealed, CodecError> {
        let key_id = self.active;
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let text = self
            .cipher(key_id)?
            .encrypt(Nonce::from_slice(&nonce), Payload { msg: text, aad: bound_to.as_bytes() })
            .map_err(|_| CodecError::TooLarge)?;
        Ok(Sealed { key_id, nonce, text: text.into() })
    }

    /// Opens what [`Self::seal`] made.
    pub(crate) fn open(&self, sealed: &Sealed, bound_to: &str) -> Result<Vec<u8>, CodecError> {
        let payload = Payload { msg: &sealed.text, aad: bound_to.as_bytes() };
        self.cipher(sealed.key_id)?
            .decrypt(Nonce::from_slice(&sealed.nonce), payload)
            .map_err(|_| CodecError::Corrupted(format!("{bound_to} cannot be unsealed with key {}", sealed.key_id)))
    }

    fn cipher(&self, id: u32) -> Result<Aes256GcmSiv, CodecError> {
        let key = self.keys.get(&id).ok_or(CodecError::MissingKey(id))?;
        Ok(Aes256GcmSiv::new(key.into()))
    }
}

/// Whether specs of this kind are sealed.
pub(crate) fn is_secret(kind: Kind) -> bool {
    kind == registry::SECRET || kind == registry::GLOBAL_SECRET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_for_its_resource_only() {
        let ring = Keyring::generate();
        let sealed = ring.seal(b"hush", "Secret/default/a").unwrap();
        assert!(!sealed.text.windows(4).any(|w| w == b"hush"));
        assert_eq!(ring.open(&sealed, "Secret/default/a").unwrap(), b"hush");
        assert!(matches!(ring.open(&sealed, "Secret/default/b"), Err(CodecError::Corrupted(_))));
    }

    #[test]
    fn a_rotated_ring_opens_old_texts_and_seals_with_the_new_key() {
        let mut ring = Keyring::generate();
        let old = ring.seal(b"hush", "k").unwrap();
        assert_eq!(ring.add(), 2);
        assert_eq!(ring.seal(b"hush", "k").unwrap().key_id, 1);
        ring.activate(2);
        assert_eq!(ring.seal(b"hush", "k").unwrap().key_id, 2);
        assert_eq!(ring.open(&old, "k").unwrap(), b"hush");
    }

    #[test]
    fn a_lost_key_is_named() {
        let sealed = Keyring::generate().seal(b"hush", "k").unwrap();
        assert_eq!(Keyring::default().open(&sealed, "k"), Err(CodecError::MissingKey(1)));
    }
}
