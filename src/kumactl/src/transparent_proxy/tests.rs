//! Settings and rules.

use std::collections::BTreeMap;

use clap::Parser;

use super::config::Config;
use super::exclusions::{Family, uid_exclusion};
use super::machine::{find_user, name_servers};
use super::rules::{Machine, rules};
use super::uninstall::without_own;
use crate::cli::{Cli, Command, InstallCommand};

fn machine(dns_servers: &[&str]) -> Machine {
    Machine {
        uid: "5678".to_owned(),
        loopback: "lo".to_owned(),
        dns_servers: dns_servers.iter().map(|server| (*server).to_owned()).collect(),
        has_docker_output: false,
    }
}

fn settled(line: &str, files: &[(&str, &str)], env: &[(&str, &str)]) -> anyhow::Result<Config> {
    let words = format!("kumactl install transparent-proxy {line}");
    let Command::Install { command: InstallCommand::TransparentProxy(flags) } =
        Cli::parse_from(words.split_whitespace()).command
    else {
        panic!("another command")
    };
    let files: BTreeMap<_, _> = files.iter().copied().collect();
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    flags.settle(
        |file| files.get(file).map(|text| (*text).to_owned()).ok_or_else(missing),
        |name| env.get(name).map(|value| (*value).to_owned()),
    )
}

#[test]
fn flags_win_over_the_environment_and_that_over_files() {
    let file = "redirect:\n  inbound: {port: 1, excludePorts: '4,5'}\n  dns: {port: 2}\n  outbound: {port: 3}\n";
    let env = [
        ("KUMA_TRANSPARENT_PROXY_REDIRECT_DNS_PORT", "20"),
        ("KUMA_TRANSPARENT_PROXY_REDIRECT_OUTBOUND_PORT", "30"),
        ("KUMA_TRANSPARENT_PROXY_REDIRECT_INBOUND_EXCLUDE_PORTS_FOR_IPS", "1.1.1.1,::1"),
        ("KUMA_TRANSPARENT_PROXY_KUMA_DP_USER", "me"),
    ];
    let config = settled("--config a --redirect-outbound-port 300 --redirect-all-dns-traffic", &[("a", file)], &env);
    let config = config.unwrap();
    let redirect = &config.redirect;
    assert_eq!((redirect.inbound.port, redirect.dns.port, redirect.outbound.port), (1, 20, 300));
    assert_eq!(redirect.inbound.exclude_ports.0, [4, 5]);
    assert_eq!(redirect.inbound.exclude_ports_for_ips, ["1.1.1.1", "::1"]);
    assert!(redirect.dns.enabled && redirect.dns.capture_all && redirect.inbound.enabled);
    assert_eq!(config.kuma_dp_user, "me");
    assert!(!settled("--redirect-inbound=false", &[], &[]).unwrap().redirect.inbound.enabled);
}

#[test]
fn unusable_settings_are_told() {
    for (line, message) in [
        ("--exclude-inbound-ports 0", "value '0' is not a valid port (uint16 in the range [1, 65535])"),
        ("--ip-family-mode ipv6", "must be one of 'dualstack' or 'ipv4'"),
        ("--redirect-dns --redirect-all-dns-traffic", "only one of '--redirect-dns' or '--redirect-all-dns-traffic'"),
        ("--config nowhere", "unable to access configuration file 'nowhere'"),
    ] {
        let error = format!("{:#}", settled(line, &[], &[]).unwrap_err());
        assert!(error.contains(message), "{line}: {error}");
    }
    for (text, message) in [
        ("*", "wildcard '*' is not allowed for UIDs"),
        ("1,2,3", "invalid UID entry: '1,2,3'. It should either be a single item or a range"),
        ("http:1:1", "invalid or unsupported protocol: 'http'"),
        ("tcp:1:2:3", "invalid format for excluding ports by UIDs: 'tcp:1:2:3'"),
        ("x:1", "invalid port range: validation failed for value or range 'x'"),
    ] {
        let error = format!("{:#}", uid_exclusion(text).unwrap_err());
        assert!(error.starts_with(message), "{text}: {error}");
    }
    let udp = uid_exclusion("udp:53,1-5:7-9").unwrap();
    assert_eq!((udp.len(), &*udp[0].ports, &*udp[0].uids), (1, "53,1:5", "7:9"));
    assert_eq!(uid_exclusion("1000").unwrap().len(), 2, "both protocols");
}

#[test]
fn rules_without_comments_are_the_bare_ones() {
    let config = settled("--disable-comments --redirect-dns", &[], &[]).unwrap();
    let text = rules(&config, &machine(&["127.0.0.53"]), Family::V4).unwrap();
    let has = |line: &str| assert!(text.lines().any(|seen| seen == line), "{line} in\n{text}");
    has("-A OUTPUT -p tcp -j KUMA_MESH_OUTBOUND");
    has("-I OUTPUT 1 -p udp --dport 53 -m owner --uid-owner 5678 -j RETURN");
    has("-I OUTPUT 2 -d 127.0.0.53 -p udp --dport 53 -j REDIRECT --to-ports 15053");
    has("-A OUTPUT -s 127.0.0.53 -d 127.0.0.1/32 -p udp -j CT --zone 1");
    has("-A KUMA_MESH_OUTBOUND -p tcp -o lo ! -d 127.0.0.1/32 -m owner --uid-owner 5678 -j KUMA_MESH_INBOUND_REDIRECT");
    assert!(!text.contains("comment") && !text.contains("mangle"));
    let v6 = rules(&config, &machine(&[]), Family::V6).unwrap();
    assert!(v6.contains("::6/128") && !v6.contains("--dport 53"), "{v6}");
}

#[test]
fn only_our_rules_are_removed() {
    let saved = "# remark\n*nat\n:KUMA_MESH_INBOUND - [0:0]\n-A INPUT -j ACCEPT\n\
                 -A OUTPUT -m comment --comment \"kuma/mesh/transparent/proxy/x\" -j RETURN\nCOMMIT\n";
    assert_eq!(without_own(saved).unwrap(), "*nat\n-A INPUT -j ACCEPT\nCOMMIT\n");
    assert!(without_own(":KUMA_MESH_INBOUND -\n").is_err());
}

#[test]
fn the_machine_is_read() {
    let users = "root:x:0:0::/:/bin/sh\nkuma-dp:x:5678:5678::/:/bin/false\n";
    assert_eq!(find_user(users, "kuma-dp").as_deref(), Some("5678"));
    assert_eq!(find_user(users, "5678").as_deref(), Some("5678"));
    assert_eq!(find_user(users, "nobody"), None);
    let resolv = "search x\nnameserver 10.0.0.2\n nameserver fd00::2 \noptions ndots:5\n";
    assert_eq!(name_servers(resolv, Family::V4), ["10.0.0.2"]);
    assert_eq!(name_servers(resolv, Family::V6), ["fd00::2"]);
}
