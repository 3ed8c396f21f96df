//! Kuma's own cases: what `iptables-save` shows after an installation.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cases::{Tally, family_dir};
use clap::Parser;

use super::exclusions::Family;
use super::rules::{Machine, rules};
use crate::cli::{Cli, Command, InstallCommand};

/// The cases that held when this was written.
const FLOOR: usize = 70;

const MULTIPLE_FLAGS: &str = "--redirect-all-dns-traffic --vnet docker0:172.17.0.0/16 --vnet br+:172.18.0.0/16 \
    --vnet iface:::1/64 --exclude-outbound-ports-for-uids 53,3000-5000:106-108 \
    --exclude-outbound-ips 10.0.0.1,192.168.0.0/24,fe80::1 --exclude-outbound-ips fd00::/8 \
    --exclude-outbound-ports 1,22,333 --exclude-inbound-ports 4444,55555 \
    --exclude-inbound-ips 192.168.0.1,172.32.16.8/16,fe80::/10 \
    --exclude-inbound-ips a81b:a033:6399:73c7:72b6:aa8c:6f22:7098";
const FILES: [(&str, &str); 3] = [
    ("/1.yaml", "redirect: {dns: {enabled: false, port: 7777}}"),
    (
        "/2.yaml",
        "redirect: {dns: {enabled: true, port: 8888}, outbound: {excludePortsForIPs: [10.11.12.13, 172.14.15.16/32]}, \
         inbound: {excludePorts: [10000, 20000]}}",
    ),
    (
        "-",
        "redirect: {vnet: {networks: ['docker2:10.0.0.0/8', 'docker0:172.17.0.0/16', 'br+:172.18.0.0/16', \
         'iface:::1/64']}, dns: {enabled: true, captureAll: true}, inbound: {enabled: true, excludePorts: [4444, 55555], \
         excludePortsForIPs: ['192.168.0.1,172.32.16.8/16,fe80::/10', 'a81b:a033:6399:73c7:72b6:aa8c:6f22:7098']}, \
         outbound: {enabled: true, excludePortsForUIDs: [1, '2-3:4-5'], excludePorts: [6, 77, 888], \
         excludePortsForIPs: ['10.0.0.1,192.168.0.0/24,fe80::1', 'fd00::/8']}}",
    ),
];

fn made(params: &str, family: Family) -> Vec<String> {
    let flags = match params {
        "with-multiple-flags" => MULTIPLE_FLAGS,
        "with-multiple-config-flags" => "--config /1.yaml --config /2.yaml --config -",
        _ => "",
    };
    let line = format!("kumactl install transparent-proxy {flags}");
    let Command::Install { command: InstallCommand::TransparentProxy(flags) } =
        Cli::parse_from(line.split_whitespace()).command
    else {
        panic!("another command")
    };
    let file = |name: &str| FILES.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned());
    let config = flags.settle(|name| file(name).ok_or_else(|| std::io::ErrorKind::NotFound.into()), |_| None).unwrap();
    let machine = Machine {
        uid: "5678".to_owned(),
        loopback: "ifPlaceholder".to_owned(),
        dns_servers: Vec::new(),
        has_docker_output: false,
    };
    saved(&rules(&config, &machine, family).unwrap())
}

/// The rules of each chain in the order in which they are evaluated, in one spelling.
fn saved(text: &str) -> Vec<String> {
    let mut chains: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            name.trim().clone_into(&mut table);
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (chain, rule) = rule.split_once(' ').unwrap();
            chains.entry((table.clone(), chain.to_owned())).or_default().push(spelled(rule));
        } else if let Some(rule) = line.strip_prefix("-I ") {
            let mut parts = rule.splitn(3, ' ');
            let (chain, place, rule) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            let rules = chains.entry((table.clone(), chain.to_owned())).or_default();
            rules.insert(place.parse::<usize>().unwrap() - 1, spelled(rule));
        }
    }
    let lines = |((table, chain), rules): ((String, String), Vec<String>)| {
        rules.into_iter().map(move |rule| format!("{table} {chain} {rule}"))
    };
    chains.into_iter().flat_map(lines).collect()
}

/// A network without the bits that do not count, as the kernel keeps it; other words as they are.
fn masked(word: &str) -> String {
    let Some((ip, len)) = word.split_once('/') else { return word.to_owned() };
    let Ok(len) = len.parse::<u32>() else { return word.to_owned() };
    match ip.parse() {
        Ok(IpAddr::V4(ip)) => {
            format!("{}/{len}", Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(32 - len).unwrap_or_default()))
        }
        Ok(IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - len).unwrap_or_default();
            format!("{}/{len}", Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
        Err(_) => word.to_owned(),
    }
}

/// A rule with its parts in order, without what iptables adds or leaves out when it saves.
fn spelled(rule: &str) -> String {
    let (comment, rest) = match rule.split_once("--comment \"") {
        Some((before, after)) => {
            let (comment, after) = after.split_once('"').unwrap();
            (comment.replace('\\', ""), format!("{before}{after}"))
        }
        None => (String::new(), rule.to_owned()),
    };
    let rest: Vec<String> = rest.split_whitespace().map(masked).collect();
    let rest = rest.join(" ");
    let words: Vec<&str> = rest.split_whitespace().filter(|word| *word != "-m" && *word != "comment").collect();
    let mut parts: Vec<String> = Vec::new();
    for word in words {
        let is_flag = word.starts_with('-') || word == "!";
        match parts.last_mut() {
            Some(last) if !is_flag || last.ends_with('!') => *last = format!("{last} {word}"),
            _ => parts.push(word.to_owned()),
        }
    }
    let mut parts: Vec<String> = parts
        .iter()
        .flat_map(|part| part.split(" tcp ").map(str::to_owned).collect::<Vec<_>>())
        .map(|part| part.replace("--dports", "--dport").replace("/128", "").replace("/32", ""))
        .map(|part| if part.starts_with("--uid-owner") { part.replace('-', ":") } else { part })
        .map(|part| {
            part.trim_end_matches(" owner")
                .trim_end_matches(" multiport")
                .trim_end_matches(" udp")
                .trim_end_matches(" tcp")
                .to_owned()
        })
        .filter(|part| !["owner", "multiport", "tcp", "udp", ""].contains(&part.as_str()))
        .collect();
    parts.sort();
    format!("{} # {comment}", parts.join(" "))
}

#[test]
fn rules_are_those_of_kuma() {
    let Some(dir) = family_dir("transparent-proxy") else { return };
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut tally = Tally::default();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let golden = std::fs::read_to_string(&file).unwrap();
        // Where the program does not exist, or is not the one in use, nothing is shown.
        if !golden.contains("KUMA_MESH") {
            continue;
        }
        let family = if name.contains(".ip6tables") { Family::V6 } else { Family::V4 };
        let params = ["with-multiple-config-flags", "with-multiple-flags"].into_iter().find(|p| name.contains(p));
        let (made, expected) = (made(params.unwrap_or_default(), family), saved(&golden));
        let first = made.iter().zip(&expected).find(|(a, b)| a != b);
        let outcome = if made == expected {
            Ok(())
        } else {
            Err(format!("{} and {} rules, {first:#?}", made.len(), expected.len()))
        };
        tally.record(name.trim_end_matches(".golden"), outcome);
    }
    tally.finish("transparent-proxy", FLOOR);
}
