//! What the rules need to know of this machine.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use super::exclusions::Family;

/// The user that kuma-dp usually runs as.
const DEFAULT_UID: &str = "5678";
const DEFAULT_USER: &str = "kuma-dp";

/// The UID of kuma-dp's user: the one that is named, else one of the usual ones.
///
/// # Errors
/// When there is no such user.
pub(super) fn uid(given: &str) -> Result<String> {
    let users = std::fs::read_to_string("/etc/passwd").context("could not read /etc/passwd")?;
    if given.is_empty() {
        return find_user(&users, DEFAULT_UID).or_else(|| find_user(&users, DEFAULT_USER)).with_context(|| {
            format!(
                "no UID or username provided, and user with the default UID ('{DEFAULT_UID}') or username ('{DEFAULT_USER}') could not be found"
            )
        });
    }
    find_user(&users, given).with_context(|| {
        format!("the specified UID or username ('{given}') does not refer to a valid user on the host")
    })
}

/// The UID of a user by its name or UID in the text of `/etc/passwd`.
pub(super) fn find_user(users: &str, wanted: &str) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        (name == wanted || uid == wanted).then(|| uid.to_owned())
    })
}

/// Only root may change rules, and only Linux has them.
///
/// # Errors
/// When this is not so; a dry run goes on with a word on standard error.
pub(super) fn check_rights(dry_run: bool) -> Result<()> {
    if std::env::consts::OS != "linux" {
        bail!("transparent proxy is supported only on Linux systems");
    }
    if is_root() {
        return Ok(());
    }
    if !dry_run {
        bail!("you need to have root privileges to run this command");
    }
    eprintln!("# [WARNING] [dry-run]: running this command as a non-root user may lead to unpredictable results");
    Ok(())
}

/// Whether the effective user is root, as the kernel says.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

/// The name servers of a family in the text of `resolv.conf`.
pub(super) fn name_servers(resolv_conf: &str, family: Family) -> Vec<String> {
    let named = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = named.filter_map(|rest| rest.split_whitespace().next());
    let is_of_family = |text: &&str| {
        text.parse::<IpAddr>().is_ok_and(|ip| if family == Family::V4 { ip.is_ipv4() } else { ip.is_ipv6() })
    };
    addresses.filter(is_of_family).map(str::to_owned).collect()
}

/// Name of the loopback interface.
pub(super) fn loopback() -> String {
    const LOOPBACK: u32 = 0x8;
    let interfaces = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let is_loopback = |name: &String| {
        let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/flags")).unwrap_or_default();
        u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).is_ok_and(|flags| flags & LOOPBACK != 0)
    };
    let mut names = interfaces.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(is_loopback).unwrap_or_else(|| "lo".to_owned())
}

/// Whether any interface but loopback has an IPv6 address.
pub(super) fn has_ipv6() -> bool {
    let addresses = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    addresses.lines().any(|line| !line.starts_with("00000000000000000000000000000001 "))
}
