//! Kuma's own cases of metrics, when they are there.

use std::path::Path;

use cases::{Tally, family_dir};
use serde_json::Value;

use super::clusters;
use super::exposition::{parse, write};
use super::profile::Selection;

/// The cases that held when this was written.
const FLOOR: usize = 8;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Lines count, their order does not.
fn compare(got: &str, expected: &str) -> Result<(), String> {
    let lines = |text: &str| {
        let mut lines: Vec<_> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (got, expected) = (lines(got), lines(expected));
    if got == expected { Ok(()) } else { Err(format!("got\n{got:#?}\nexpected\n{expected:#?}")) }
}

fn merged(dir: &Path, case: &str) -> Result<(), String> {
    let mut families = parse(&read(&dir.join(format!("{case}.in")))).map_err(|e| e.to_string())?;
    clusters::merge(&mut families);
    compare(&write(&families), &read(&dir.join(format!("{case}.out"))))
}

fn selected(dir: &Path, case: &str) -> Result<(), String> {
    let families = parse(&read(&dir.join(format!("{case}.in")))).map_err(|e| e.to_string())?;
    let policy: Value = serde_saphyr::from_str(&read(&dir.join(format!("{case}.yaml")))).map_err(|e| e.to_string())?;
    let spec = policy.get("spec").unwrap_or(&policy);
    let sidecar = serde_json::from_value(spec["default"]["sidecar"].clone()).map_err(|e| e.to_string())?;
    compare(&write(&Selection::of(&sidecar).apply(families)), &read(&dir.join(format!("{case}.golden"))))
}

/// The cases of a folder that have a file with this ending beside their input.
fn stems(dir: &Path, ending: &str) -> Vec<String> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let inputs = files.filter(|path| path.extension().is_some_and(|e| e == "in"));
    let mut stems: Vec<_> = inputs
        .filter(|path| path.with_extension(ending).exists())
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    stems.sort();
    stems
}

#[test]
fn metrics_are_told_as_kuma_tells_them() {
    let Some(dir) = family_dir("kuma-dp-metrics") else { return };
    let mut tally = Tally::default();
    for case in stems(&dir, "out") {
        tally.record(&case, merged(&dir, &case));
    }
    let profiles = dir.join("profiles");
    for case in stems(&profiles, "yaml") {
        tally.record(&format!("profiles/{case}"), selected(&profiles, &case));
    }
    tally.finish("kuma-dp-metrics", FLOOR);
}
