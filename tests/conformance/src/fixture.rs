//! Keys, specs and short ways to read what the checks are about.

use std::sync::Arc;

use model::{Key, Labels, Resource, Spec, registry};
use store::{CommitError, Committed, Store, Txn};

/// The key of a mesh.
pub fn mesh(name: &str) -> Key {
    Key::global(registry::MESH, name)
}

/// The key of a dataplane.
pub fn dataplane(mesh: &str, name: &str) -> Key {
    Key::new(registry::DATAPLANE, mesh, name)
}

/// The key of a secret.
pub fn secret(mesh: &str, name: &str) -> Key {
    Key::new(registry::SECRET, mesh, name)
}

/// A config: a kind whose spec every build takes as it is.
pub fn config(name: &str) -> Key {
    Key::global(registry::CONFIG, name)
}

/// A spec that carries a number.
///
/// # Panics
/// Never: a JSON object can be encoded.
pub fn number(value: u64) -> Spec {
    text(&value.to_string())
}

/// A spec that carries a text.
///
/// # Panics
/// Never: a JSON object can be encoded.
pub fn text(value: &str) -> Spec {
    Spec::of(serde_json::json!({ "config": value })).expect("JSON can be encoded")
}

/// The number in a spec that [`number`] made.
///
/// # Panics
/// When there is none.
pub fn number_in(resource: &Resource) -> u64 {
    let json: serde_json::Value = serde_json::from_str(resource.spec.json()).expect("specs are JSON");
    json["config"].as_str().and_then(|text| text.parse().ok()).expect("a number")
}

/// A transaction that puts one resource.
pub fn put(key: Key, spec: Spec) -> Txn {
    Txn::new().put(key, Labels::new(), spec)
}

/// Commits, and expects that it succeeds.
///
/// # Panics
/// When it does not.
pub async fn commit<S: Store>(store: &S, txn: Txn) -> Committed {
    match store.commit(txn.clone()).await {
        Ok(committed) => committed,
        Err(error) => panic!("{error} for {txn:?}"),
    }
}

/// Commits, and expects that a guard fails.
///
/// # Panics
/// When it succeeds or fails otherwise.
pub async fn refused<S: Store>(store: &S, txn: Txn) -> store::GuardFailure {
    let before = store.snapshot();
    let failure = match store.commit(txn.clone()).await {
        Err(CommitError::Guard(failure)) => failure,
        other => panic!("expected a failed guard, got {other:?} for {txn:?}"),
    };
    let after = store.snapshot();
    assert_eq!(before.revision(), after.revision(), "a refused transaction has no revision");
    assert!(before.iter().eq(after.iter()), "a refused transaction writes nothing");
    failure
}

/// What is stored under a key.
///
/// # Panics
/// When there is nothing.
pub fn stored<S: Store>(store: &S, key: &Key) -> Arc<Resource> {
    store.snapshot().get(key).cloned().unwrap_or_else(|| panic!("{key} is not stored"))
}
