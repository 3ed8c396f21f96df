//! Redirection of a machine's traffic into its proxy, by rules of iptables: `kumactl install` and
//! `uninstall transparent-proxy`. What the rules are is decided in [`rules`], without touching anything;
//! the rest reads settings and runs programs.

mod config;
mod exclusions;
mod flags;
mod install;
mod iptables;
#[cfg(test)]
mod kuma_cases;
mod machine;
mod rules;
#[cfg(test)]
mod tests;
mod uninstall;
mod validator;

pub(crate) use flags::{InstallFlags, UninstallFlags, ValidatorFlags};
pub(crate) use install::install;
pub(crate) use uninstall::uninstall;
pub(crate) use validator::validate;

/// What a rule's comment begins with; by this rules are found again.
const COMMENT_PREFIX: &str = "kuma/mesh/transparent/proxy/";
/// What the names of chains begin with.
const CHAIN_PREFIX: &str = "KUMA_MESH";
