//! Who may use whom, and what is absent from a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::sources::{read, root, rust_files, shown};

/// The floor of each crate and its folder. A crate uses crates of lower floors only.
const FLOORS: &[(&str, &str, u8)] = &[
    ("model", "src/model", 0),
    ("store", "src/store", 1),
    ("policy", "src/policy", 1),
    ("identity", "src/identity", 1),
    ("logging", "src/logging", 1),
    ("xds", "src/xds", 2),
    ("raft", "raft", 2),
    ("actors", "actors", 3),
    ("zones", "zones", 4),
    ("api", "src/api", 4),
    ("kuma-cp", "src/kuma-cp", 5),
    ("kuma-dp", "src/kuma-dp", 5),
    ("kumactl", "src/kumactl", 5),
];

/// Crates that must not depend on these: by name of the dependency.
const ABSENT: &[(&str, &[&str])] = &[
    ("model", &["tokio", "rand", "envoy-types", "tonic", "axum", "reqwest"]),
    ("policy", &["tokio", "rand", "envoy-types", "tonic", "axum", "reqwest"]),
    ("xds", &["tokio", "rand", "tonic", "axum", "reqwest", "store"]),
    ("store", &["openraft", "sled", "axum", "envoy-types"]),
    ("actors", &["axum", "openraft", "sled"]),
    ("api", &["openraft", "sled", "actix"]),
    ("kumactl", &["store", "xds", "actors", "openraft"]),
    ("kuma-dp", &["store", "xds", "actors", "openraft", "envoy-types"]),
];

/// The dependencies that a crate's manifest names, those for tests aside.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = read(&root().join(folder).join("Cargo.toml"));
    let section = manifest.split("\n[").find(|part| part.starts_with("dependencies]")).unwrap_or_default();
    section.lines().skip(1).filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn crates_use_lower_floors_only() {
    let floor: BTreeMap<_, _> = FLOORS.iter().map(|(name, _, floor)| (*name, *floor)).collect();
    let mut wrong = Vec::new();
    for (name, folder, own) in FLOORS {
        for dependency in dependencies(folder) {
            // Crates of one floor may not know each other, but for `api`, which knows the head of `zones`.
            let is_neighbour = *name == "api" && dependency == "zones";
            if floor.get(dependency.as_str()).is_some_and(|used| used >= own) && !is_neighbour {
                wrong.push(format!("{name} uses {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "against the floors: {wrong:#?}");
}

#[test]
fn what_a_crate_must_not_know_is_absent() {
    let mut wrong = Vec::new();
    for (name, absent) in ABSENT {
        let folder = FLOORS.iter().find(|(crate_name, ..)| crate_name == name).map_or("", |(_, folder, _)| folder);
        for dependency in dependencies(folder) {
            if absent.contains(&dependency.as_str()) {
                wrong.push(format!("{name} knows {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_crates_read_no_clock_and_draw_no_number() {
    let banned = [
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "thread_rng",
        " rand::",
        "(rand::",
        "std::fs::",
        "std::env::",
    ];
    let mut found = Vec::new();
    for file in rust_files() {
        let path = shown(&file);
        let is_pure = ["src/model/src", "src/policy/src", "src/xds/src"].iter().any(|pure| path.starts_with(pure));
        if !is_pure || is_for_tests(&file) {
            continue;
        }
        let text = read(&file);
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (i, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if let Some(word) = banned.iter().find(|word| line.contains(**word)) {
                found.push(format!("{path}:{}: {word}", i + 1));
            }
        }
    }
    assert!(found.is_empty(), "what a pure crate needs of the world is passed in: {found:#?}");
}

/// Whether a file is compiled into tests only.
fn is_for_tests(file: &Path) -> bool {
    let path = shown(file);
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("/testing/") || path.contains("/examples/")
}

#[test]
fn only_one_module_speaks_bincode_and_yaml() {
    let allowed = [("bincode::", "raft/src/codec"), ("serde_saphyr::", "src/model/src/yaml")];
    let exceptions = ["src/kuma-dp/src", "src/kuma-cp/src", "tests/"];
    let mut found = Vec::new();
    for file in rust_files() {
        let (path, text) = (shown(&file), read(&file));
        for (word, home) in allowed {
            let is_elsewhere = !path.starts_with(home) && !exceptions.iter().any(|e| path.starts_with(e));
            if is_elsewhere && text.lines().any(|line| line.contains(word) && !line.trim_start().starts_with("//")) {
                found.push(format!("{path} uses {word}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
