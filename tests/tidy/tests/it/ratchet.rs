//! Long files and functions: today's exceptions are listed, and the lists may only shrink.

use std::collections::BTreeMap;

use crate::sources::{read, root, rust_files, shown};

/// The most lines of a file.
const FILE_LINES_MAX: usize = 500;

/// The most lines of a function.
const FUNCTION_LINES_MAX: usize = 70;

/// The variable that rewrites the list.
const UPDATE: &str = "UPDATE_RATCHET";

/// What is too long now: `path` or `path::function`, and its lines.
fn too_long() -> BTreeMap<String, usize> {
    let mut long = BTreeMap::new();
    for file in rust_files() {
        let text = read(&file);
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            long.insert(shown(&file), lines);
        }
        for (name, lines) in functions(&text) {
            if lines > FUNCTION_LINES_MAX {
                long.insert(format!("{}::{name}", shown(&file)), lines);
            }
        }
    }
    long
}

/// The functions of a formatted file, by the indentation of their closing brace.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(at) = trimmed.find("fn ").filter(|at| is_signature(&trimmed[..*at])) else { continue };
        let opens = lines[start..].iter().find(|line| line.ends_with(['{', ';', '}']));
        if opens.is_none_or(|line| !line.ends_with('{')) {
            continue;
        }
        let indent = line.len() - trimmed.len();
        let close = format!("{}}}", " ".repeat(indent));
        let Some(end) = lines[start..].iter().position(|line| *line == close) else { continue };
        let name = trimmed[at + 3..].split(['(', '<']).next().unwrap_or_default();
        found.push((name.to_owned(), end + 1));
    }
    found
}

/// Whether only visibility and qualifiers stand before `fn`.
fn is_signature(before: &str) -> bool {
    before.split_whitespace().all(|word| {
        matches!(word, "pub" | "const" | "async" | "extern" | "default")
            || word.starts_with("pub(")
            || word.ends_with(')')
    })
}

#[test]
fn long_files_and_functions_only_become_fewer() {
    let path = root().join("tests/tidy/ratchet.txt");
    let long = too_long();
    if std::env::var_os(UPDATE).is_some() {
        let text: String = long.iter().map(|(what, lines)| format!("{lines} {what}\n")).collect();
        std::fs::write(&path, text).expect("the list can be written");
        return;
    }
    let known: BTreeMap<String, usize> = read(&path)
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(lines, what)| Some((what.to_owned(), lines.parse().ok()?)))
        .collect();
    let grown: Vec<_> = long
        .iter()
        .filter(|(what, lines)| known.get(*what).is_none_or(|allowed| *lines > allowed))
        .map(|(what, lines)| format!("{what}: {lines} lines"))
        .collect();
    assert!(
        grown.is_empty(),
        "longer than a sitting ({FILE_LINES_MAX} lines a file, {FUNCTION_LINES_MAX} a function): {grown:#?}"
    );
    let gone: Vec<_> = known.keys().filter(|what| !long.contains_key(*what)).collect();
    assert!(gone.is_empty(), "no longer too long, take them off with {UPDATE}=1: {gone:#?}");
}
