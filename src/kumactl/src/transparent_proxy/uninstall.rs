//! `uninstall transparent-proxy`.

use anyhow::{Context, Result, bail};

use super::iptables::{self, Programs};
use super::machine;
use super::{CHAIN_PREFIX, COMMENT_PREFIX, UninstallFlags};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLV_CONF_BACKUP: &str = "/etc/resolv.conf.kuma-backup";
/// Patience with the lock of legacy iptables: seconds, and microseconds between looks.
const LOCK: (u32, u32) = (5, 0);

/// Takes the rules away, or prints what would be left.
///
/// # Errors
/// What iptables says.
pub(crate) fn uninstall(flags: &UninstallFlags) -> Result<()> {
    machine::check_rights(flags.dry_run)?;
    let (v4, v6) = iptables::find(&serde_json::Value::Null)?;
    for programs in [Some(v4), v6].into_iter().flatten() {
        if flags.dry_run || flags.verbose {
            println!("{}", without_own(&programs.rules()?)?);
        }
        if !flags.dry_run {
            remove(&programs, LOCK)?;
        }
    }
    if let Ok(backup) = std::fs::read_to_string(RESOLV_CONF_BACKUP) {
        if !flags.dry_run {
            std::fs::write(RESOLV_CONF, &backup).context("could not write /etc/resolv.conf")?;
        }
        println!("{backup}");
    }
    println!("transparent proxy cleanup completed successfully");
    Ok(())
}

/// Takes our rules away and leaves all others.
///
/// # Errors
/// When there are rules of ours that bear no comment, and what iptables says.
pub(super) fn remove(programs: &Programs, lock: (u32, u32)) -> Result<()> {
    let rules = programs.rules()?;
    if is_own(&rules) { programs.restore(&without_own(&rules)?, true, lock) } else { Ok(()) }
}

fn is_own(text: &str) -> bool {
    text.contains(COMMENT_PREFIX) || text.contains(CHAIN_PREFIX)
}

/// Saved rules without ours and without remarks.
pub(super) fn without_own(rules: &str) -> Result<String> {
    if rules.contains(CHAIN_PREFIX) && !rules.contains(COMMENT_PREFIX) {
        bail!(
            "rules of the chains {CHAIN_PREFIX}* have no comments, so all of ours cannot be told: remove them by hand"
        );
    }
    let kept = rules.lines().filter(|line| !line.starts_with('#') && !is_own(line));
    Ok(kept.map(|line| format!("{line}\n")).collect())
}
