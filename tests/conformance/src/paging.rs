//! Lists.

use model::{Labels, registry};
use store::{Query, Store, Txn};

use crate::fixture::{commit, number, secret};

async fn fill<S: Store>(store: &S) {
    let mut txn = Txn::new();
    for mesh in ["b", "a", "ab"] {
        for n in 0..7 {
            let labels = Labels::from([("odd".to_owned(), (n % 2 == 1).to_string())]);
            txn = txn.put(secret(mesh, &format!("dp-{n}")), labels, number(n));
        }
    }
    commit(store, txn).await;
}

fn query(mesh: Option<&str>, offset: usize, size: usize) -> Query {
    Query { kind: registry::SECRET, mesh: mesh.map(str::to_owned), offset, size }
}

/// No match twice, none missing, ordered by mesh and name.
pub async fn pages_cover_the_list_in_order<S: Store>(store: &S) {
    fill(store).await;
    let state = store.snapshot();
    let mut seen = Vec::new();
    let mut next = Some(0);
    while let Some(offset) = next {
        let page = state.list(&query(None, offset, 4), |_| true);
        assert_eq!(page.total, 21);
        seen.extend(page.items.iter().map(|r| r.key.clone()));
        next = page.next;
    }
    assert_eq!(seen.len(), 21);
    assert!(seen.is_sorted());
    assert!(state.list(&query(None, 21, 4), |_| true).items.is_empty());
    assert_eq!(state.list(&query(None, 0, 0), |_| true).next, None);
}

/// Meshes that share a prefix do not mix; totals count matches only.
pub async fn lists_are_by_mesh_and_filter<S: Store>(store: &S) {
    fill(store).await;
    let state = store.snapshot();
    let page = state.list(&query(Some("a"), 1, 1), |r| r.label("odd") == Some("true"));
    assert_eq!((page.total, page.next), (3, Some(2)));
    assert_eq!(page.items[0].key, secret("a", "dp-3"));
    assert_eq!(state.list(&query(Some("c"), 0, 10), |_| true).total, 0);
    assert_eq!(state.count(registry::SECRET), 21);
}
