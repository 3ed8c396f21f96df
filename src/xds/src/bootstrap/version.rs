//! Versions of the running proxy, and whether they suit this control plane.

use serde::{Deserialize, Serialize};

use super::transparent_proxy::nullable;

/// What `kuma-dp` says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KumaDpVersion {
    /// As `3.0.0`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Git tag of the build.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub git_tag: String,
    /// Git commit of the build.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Date of the build.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub build_date: String,
}

/// What `kuma-dp` says of the Envoy that it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EnvoyVersion {
    /// Full build text.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub build: String,
    /// As `1.39.0`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Whether this `kuma-dp` supports that Envoy.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "std::ops::Not::not")]
    pub kuma_dp_compatible: bool,
}

/// Both versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProxyVersion {
    /// Of `kuma-dp`.
    #[serde(deserialize_with = "nullable")]
    pub kuma_dp: KumaDpVersion,
    /// Of Envoy.
    #[serde(deserialize_with = "nullable")]
    pub envoy: EnvoyVersion,
    /// Of other parts, by name.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub dependencies: std::collections::BTreeMap<String, String>,
}

/// Whether a `kuma-dp` of version `proxy` suits a control plane of version `control_plane`: equal
/// majors, and minors that differ by two at most. Versions that cannot be compared suit.
pub fn is_compatible(control_plane: &str, proxy: &str) -> bool {
    match (major_minor(control_plane), major_minor(proxy)) {
        (Some((cp_major, cp_minor)), Some((major, minor))) => cp_major == major && cp_minor.abs_diff(minor) <= 2,
        _ => true,
    }
}

fn major_minor(version: &str) -> Option<(u64, u64)> {
    if version.contains("preview") {
        return None;
    }
    let core = version.split(['-', '+']).next()?;
    let mut parts = core.split('.');
    let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next()?);
    patch.parse::<u64>().ok()?;
    let pair = (major.parse().ok()?, minor.parse().ok()?);
    parts.next().is_none().then_some(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_suit_within_two_minors() {
        for (proxy, suits) in [
            ("3.0.0", true),
            ("3.2.9", true),
            ("3.3.0", false),
            ("2.13.0", false),
            ("0.0.0-preview.v1", true),
            ("unknown", true),
            ("", true),
        ] {
            assert_eq!(is_compatible("3.0.0", proxy), suits, "{proxy}");
        }
    }
}
