//! The suite of the store, on a group of one.

use crate::fixture::open;

store_conformance::suite!(open);

#[test]
fn random_histories_agree_with_the_model() {
    store_conformance::history::agrees_with_the_model(6, open);
}
