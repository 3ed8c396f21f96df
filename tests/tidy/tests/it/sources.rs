//! The Rust files of the project, and what each of them must have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The root of the project.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies two folders deep");
    root.to_owned()
}

/// All Rust files that belong to the project, by path from the root.
pub(crate) fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for top in ["src", "raft", "actors", "zones", "deploy", "tests"] {
        collect(&root().join(top), &mut files);
    }
    files.sort();
    files
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// A path as it is shown.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_file_begins_with_what_lives_in_it() {
    let without: Vec<_> =
        rust_files().iter().filter(|file| !read(file).starts_with("//!")).map(|file| shown(file)).collect();
    assert!(without.is_empty(), "files without a //! head: {without:#?}");
}

#[test]
fn every_file_is_named_by_a_mod_or_is_a_root() {
    let files = rust_files();
    let mut orphans = Vec::new();
    for file in &files {
        let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let is_root = matches!(stem, "lib" | "main" | "build")
            || file.parent().is_some_and(|p| p.ends_with("examples") || p.ends_with("benches"));
        if is_root || is_declared(file, stem) {
            continue;
        }
        orphans.push(shown(file));
    }
    assert!(orphans.is_empty(), "files that no `mod` names, so that they are never compiled: {orphans:#?}");
}

/// Whether the parent module of a file declares it.
fn is_declared(file: &Path, stem: &str) -> bool {
    let (Some(dir), name) = (file.parent(), stem) else { return false };
    let (dir, name) = if name == "mod" {
        let folder = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        (dir.parent().unwrap_or(dir), folder)
    } else {
        (dir, name)
    };
    let beside = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let parents = [
        dir.join("mod.rs"),
        dir.join("lib.rs"),
        dir.join("main.rs"),
        dir.parent().unwrap_or(dir).join(format!("{beside}.rs")),
    ];
    let declares = |text: &str| {
        text.lines().any(|line| {
            let line = line.trim();
            line.ends_with(&format!("mod {name};")) || line.ends_with(&format!("mod {name} {{"))
        })
    };
    parents.iter().filter(|parent| parent.is_file()).any(|parent| declares(&read(parent)))
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    let words: BTreeSet<_> =
        ["TO", "FIX", "XX"].into_iter().zip(["DO", "ME", "X"]).map(|(a, b)| format!("{a}{b}")).collect();
    let mut found = Vec::new();
    for file in rust_files() {
        for (i, line) in read(&file).lines().enumerate() {
            if words.iter().any(|word| line.contains(&format!("{word}:")) || line.contains(&format!("{word} "))) {
                found.push(format!("{}:{}: {}", shown(&file), i + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "say what is missing in an issue, not in the code: {found:#?}");
}
