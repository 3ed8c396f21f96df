//! `install transparent-proxy`.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use model::kinds::duration::GoDuration;

use super::config::{Config, FamilyMode};
use super::exclusions::Family;
use super::iptables::{self, Programs};
use super::machine::{self, loopback, name_servers};
use super::rules::{Machine, rules};
use super::{InstallFlags, uninstall};

/// Puts the rules in place, or prints them.
///
/// # Errors
/// Settings that cannot be used, a missing user, and what iptables says.
pub(crate) fn install(flags: &InstallFlags) -> Result<()> {
    let config = flags.settle(read, |name| std::env::var(name).ok())?;
    machine::check_rights(config.dry_run)?;
    let uid = machine::uid(&config.kuma_dp_user).context("failed to initialize config")?;
    let programs = match iptables::find(&config.iptables_executables) {
        Ok(programs) => Some(programs),
        Err(error) if config.dry_run => {
            eprintln!("# [WARNING] [dry-run]: {error:#}");
            None
        }
        Err(error) => return Err(error.context("failed to initialize config")),
    };
    let resolv_conf = std::fs::read_to_string(&config.redirect.dns.resolv_config_path).unwrap_or_default();
    let has_docker_output =
        programs.as_ref().is_some_and(|(v4, _)| v4.rules().is_ok_and(|rules| rules.contains(":DOCKER_OUTPUT")));
    let of_family = |family| {
        let dns_servers = name_servers(&resolv_conf, family);
        if config.redirect.dns.enabled && !config.redirect.dns.capture_all && dns_servers.is_empty() {
            eprintln!("# [WARNING]: no name server of the family is in use, its DNS traffic is not redirected");
        }
        let has_docker_output = has_docker_output && family == Family::V4;
        rules(&config, &Machine { uid: uid.clone(), loopback: loopback(), dns_servers, has_docker_output }, family)
    };
    let v4 = of_family(Family::V4).context("failed to setup transparent proxy")?;
    let is_dualstack = config.ip_family_mode == FamilyMode::Dualstack;
    let v6 = is_dualstack.then(|| of_family(Family::V6)).transpose().context("failed to setup transparent proxy")?;
    if config.dry_run {
        println!("### IPv4 ###\n\n{v4}");
        if let Some(v6) = v6 {
            println!("### IPv6 ###\n\n{v6}");
        }
    } else if let Some((programs, programs_v6)) = programs {
        apply(&programs, &v4, &config).context("failed to setup transparent proxy")?;
        if let Some(v6) = v6.filter(|_| machine::has_ipv6()) {
            // Many machines have no IPv6 in their kernel; those are served as far as they go.
            if let Err(error) = apply_v6(programs_v6.as_ref(), &v6, &config) {
                eprintln!("# [WARNING]: IPv6 traffic is not redirected: {error:#}");
            }
        }
    }
    println!(
        "transparent proxy setup completed successfully. You can now run kuma-dp with the transparent-proxy feature enabled"
    );
    Ok(())
}

fn read(file: &str) -> std::io::Result<String> {
    if file != "-" {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Replaces former rules by these, with some patience: others may hold the lock.
fn apply(programs: &Programs, rules: &str, config: &Config) -> Result<()> {
    if config.verbose {
        println!("{rules}");
    }
    let pause = &config.retry.sleep_between_retries;
    let pause: Duration = pause.trim_matches('"').parse::<GoDuration>().map(GoDuration::to_std).unwrap_or_default();
    let mut left = config.retry.max_retries;
    loop {
        let lock = (config.wait, config.wait_interval);
        let outcome = uninstall::remove(programs, lock).and_then(|()| programs.restore(rules, false, lock));
        match outcome {
            Err(error) if left > 0 => {
                eprintln!("# [WARNING]: {error:#}; trying again");
                left -= 1;
                std::thread::sleep(pause);
            }
            outcome => return outcome,
        }
    }
}

/// The proxy calls its workload from `::6`, which the machine must have for that.
fn apply_v6(programs: Option<&Programs>, rules: &str, config: &Config) -> Result<()> {
    let programs = programs.context("there are no programs of ip6tables")?;
    let added = Command::new("ip").args(["-6", "addr", "replace", "::6/128", "dev", &loopback()]).status();
    if !added.is_ok_and(|status| status.success()) {
        eprintln!("# [WARNING]: the address ::6 could not be added to the loopback interface");
    }
    apply(programs, rules, config)
}
