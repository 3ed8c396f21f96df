//! Keys that are made while the store opens: at a first start they are what takes longest.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use identity::{KeyError, RsaPrivateKey};

/// How many keys a first start needs at once: that of users' tokens and that of the default mesh.
const AHEAD: usize = 2;

/// RSA keys, made or in the making.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    making: Mutex<Vec<JoinHandle<Result<RsaPrivateKey, KeyError>>>>,
}

impl Keys {
    /// Begins with those that a first start needs, each on a thread of its own.
    pub(crate) fn ahead() -> Self {
        let begin = |_| std::thread::Builder::new().name("key".to_owned()).spawn(RsaPrivateKey::generate).ok();
        Self { making: Mutex::new((0..AHEAD).filter_map(begin).collect()) }
    }

    /// One of those that were begun, or a new one. Blocks until it is made.
    ///
    /// # Errors
    /// When the generator fails.
    pub(crate) fn take(&self) -> Result<RsaPrivateKey, KeyError> {
        let begun = self.making.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match begun.map(JoinHandle::join) {
            Some(Ok(key)) => key,
            Some(Err(_)) | None => RsaPrivateKey::generate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_given_twice() {
        let keys = Keys::ahead();
        let public: Vec<_> = (0..=AHEAD).map(|_| keys.take().unwrap().public_key()).collect();
        assert!(public[0] != public[1] && public[1] != public[2] && public[0] != public[2]);
    }
}
