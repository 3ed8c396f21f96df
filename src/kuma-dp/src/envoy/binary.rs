//! Which Envoy is run, and which version it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// The Envoy that this kuma-dp was made for: the same minor version with this or a later patch is
/// compatible.
const MADE_FOR: (u32, u32, u32) = (1, 39, 0);

/// The version of an Envoy, as it is told to the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    pub(crate) version: String,
    pub(crate) build: String,
    pub(crate) kuma_dp_compatible: bool,
}

/// Finds the executable: the configured path (searched in `PATH` when it has no slash), then
/// `./envoy`, then `envoy` beside kuma-dp.
///
/// # Errors
/// When there is none, with the places that were looked at.
pub(crate) fn find(configured: &str) -> Result<PathBuf> {
    let mut candidates = Vec::new();
    if configured.contains('/') {
        candidates.push(PathBuf::from(configured));
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        candidates.extend(std::env::split_paths(&path).map(|dir| dir.join(configured)));
    }
    let here = std::env::current_dir().map(|dir| dir.join("envoy"));
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("envoy")));
    candidates.extend(here.into_iter().chain(beside));
    match candidates.iter().find(|path| is_executable(path)) {
        Some(path) => Ok(path.clone()),
        None => {
            let mut looked_at = vec![configured.to_owned()];
            looked_at.extend(candidates.iter().rev().take(2).rev().map(|path| path.display().to_string()));
            bail!("could not find executable binary in any of the following paths: {looked_at:?}")
        }
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Asks the executable for its version.
///
/// # Errors
/// When it cannot be run or says something else.
pub(crate) async fn version(binary: &Path) -> Result<Version> {
    let output = tokio::process::Command::new(binary)
        .arg("--version")
        .output()
        .await
        .with_context(|| format!("could not run {} --version", binary.display()))?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> Result<Version> {
    let build = text.split_once("version:").map_or("", |(_, build)| build.trim());
    let parts: Vec<_> = build.split('/').collect();
    let [_, version, _, _, _] = parts.as_slice() else {
        bail!("wrong Envoy build format: {build}");
    };
    let (version, build) = ((*version).to_owned(), build.to_owned());
    let kuma_dp_compatible = is_compatible(&version);
    Ok(Version { version, build, kuma_dp_compatible })
}

fn is_compatible(version: &str) -> bool {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Option<Vec<u32>> = core.split('.').map(|n| n.parse().ok()).collect();
    match numbers.as_deref() {
        Some([major, minor, patch]) => (*major, *minor) == (MADE_FOR.0, MADE_FOR.1) && *patch >= MADE_FOR.2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_second_part() {
        let version = parse("envoy  version: 5bd1a/1.39.2/Clean/RELEASE/BoringSSL\n").unwrap();
        assert_eq!(version.version, "1.39.2");
        assert_eq!(version.build, "5bd1a/1.39.2/Clean/RELEASE/BoringSSL");
        assert!(version.kuma_dp_compatible);
        assert!(!parse("x version: a/1.40.0/c/d/e").unwrap().kuma_dp_compatible);
    }

    #[test]
    fn another_format_is_named() {
        let error = parse("envoy version: 1.2.3").unwrap_err().to_string();
        assert_eq!(error, "wrong Envoy build format: 1.2.3");
    }

    #[test]
    fn a_missing_binary_lists_the_places() {
        let error = find("/nowhere/envoy-x").unwrap_err().to_string();
        assert!(
            error.contains("could not find executable binary in any of the following paths: [\"/nowhere/envoy-x\"")
        );
    }
}
