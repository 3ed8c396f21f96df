//! The suite on the memory store, and the state alone against the model.

use store::MemoryStore;

async fn open() -> (MemoryStore, ()) {
    (MemoryStore::new(), ())
}

store_conformance::suite!(open);

#[test]
fn random_histories_agree_with_the_model() {
    store_conformance::history::agrees_with_the_model(200, open);
}
