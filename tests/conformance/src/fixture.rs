//! Keys, specs and short ways to read what the checks are about.

use std::sync::Arc;

use model::{Key, Labels, Resource, Spec, registry};
use store::{CommitError, Committed, Op, Store, Txn};

/// The key of a global secret.
pub fn global(name: &str) -> Key {
    Key::global(registry::GLOBAL_SECRET, name)
}

/// The key of a secret of a mesh.
pub fn secret(mesh: &str, name: &str) -> Key {
    Key::new(registry::SECRET, mesh, name)
}

/// The key of a config.
pub fn config(name: &str) -> Key {
    Key::global(registry::CONFIG, name)
}

/// A spec that carries a number below 10 000, once [`canonical`] made it one of its kind.
pub fn number(value: u64) -> Spec {
    text(&format!("{value:04}"))
}

/// A spec that carries a text; for secrets it must be base64.
///
/// # Panics
/// Never: a JSON object can be encoded.
pub fn text(value: &str) -> Spec {
    Spec::of(serde_json::json!({ "config": value, "data": value })).expect("JSON can be encoded")
}

/// The text in a spec that [`text`] made.
///
/// # Panics
/// When there is none.
pub fn text_in(spec: &Spec) -> String {
    let json: serde_json::Value = serde_json::from_str(spec.json()).expect("specs are JSON");
    json["config"].as_str().or(json["data"].as_str()).expect("a text").to_owned()
}

/// The number in a spec that [`number`] made.
///
/// # Panics
/// When there is none.
pub fn number_in(spec: &Spec) -> u64 {
    text_in(spec).parse().expect("a number")
}

/// The transaction with specs as admission would make them: each of the shape of its kind.
///
/// # Panics
/// When a kind does not take its spec.
pub fn canonical(mut txn: Txn) -> Txn {
    for op in &mut txn.ops {
        if let Op::Put(put) = op {
            let raw = serde_json::from_str(put.spec.json()).expect("specs are JSON");
            put.spec = (put.key.kind.codec.decode)(raw).expect("the kind takes it");
        }
    }
    txn
}

/// A transaction that puts one resource.
pub fn put(key: Key, spec: Spec) -> Txn {
    canonical(Txn::new().put(key, Labels::new(), spec))
}

/// Commits, and expects that it succeeds.
///
/// # Panics
/// When it does not.
pub async fn commit<S: Store>(store: &S, txn: Txn) -> Committed {
    let txn = canonical(txn);
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
    let txn = canonical(txn);
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
