//! Tests that documents name exist.

use crate::sources::{read, root, rust_files};

#[test]
fn tests_that_documents_name_exist() {
    let sources: String = rust_files().iter().map(|file| read(file)).collect();
    let document = read(&root().join("docs/xds.md"));
    let names: Vec<_> = document.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() > 3).collect();
    assert!(names.len() > 30, "{} tests are named", names.len());
    let exists = |name: &str| ["(", "<"].iter().any(|after| sources.contains(&format!("fn {name}{after}")));
    let missing: Vec<_> = names.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
