//! The rules, as `iptables-restore` reads them.

use anyhow::Result;

use super::COMMENT_PREFIX;
use super::config::{Config, Direction};
use super::exclusions::{Family, excluded_ips, uid_exclusions, virtual_networks};

const INBOUND: &str = "KUMA_MESH_INBOUND";
const OUTBOUND: &str = "KUMA_MESH_OUTBOUND";
const INBOUND_REDIRECT: &str = "KUMA_MESH_INBOUND_REDIRECT";
const OUTBOUND_REDIRECT: &str = "KUMA_MESH_OUTBOUND_REDIRECT";
const DNS_PORT: u16 = 53;
/// The longest comment that iptables takes, in bytes.
const COMMENT_LEN_MAX: usize = 254;

/// What the rules need to know of the machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// User of kuma-dp.
    pub(super) uid: String,
    /// Name of the loopback interface.
    pub(super) loopback: String,
    /// Name servers of the family.
    pub(super) dns_servers: Vec<String>,
    /// Whether Docker has its own chain for DNS.
    pub(super) has_docker_output: bool,
}

/// Makes the rules of one family.
struct Maker<'a> {
    config: &'a Config,
    machine: &'a Machine,
    family: Family,
}

/// One chain while it is filled.
struct Chain<'a> {
    name: &'static str,
    comments: bool,
    inserted: usize,
    lines: &'a mut Vec<String>,
}

impl Chain<'_> {
    fn append(&mut self, rule: &str, comment: &str) {
        let place = format!("-A {}", self.name);
        self.push(&place, rule, comment);
    }

    /// Puts a rule before those that are there already, after those that were inserted before.
    fn insert(&mut self, rule: &str, comment: &str) {
        self.inserted += 1;
        let place = format!("-I {} {}", self.name, self.inserted);
        self.push(&place, rule, comment);
    }

    fn push(&mut self, place: &str, rule: &str, comment: &str) {
        let mut text = format!("{COMMENT_PREFIX}{comment}");
        text.truncate(COMMENT_LEN_MAX);
        let commented = if self.comments { format!(" -m comment --comment \"{text}\"") } else { String::new() };
        self.lines.push(format!("{place}{commented} {rule}"));
    }
}

/// All tables of a family that have rules.
///
/// # Errors
/// An exclusion or network that cannot be used.
pub(super) fn rules(config: &Config, machine: &Machine, family: Family) -> Result<String> {
    let maker = Maker { config, machine, family };
    let mut text = String::new();
    for (table, lines) in [("raw", maker.raw()), ("nat", maker.nat()?), ("mangle", maker.mangle())] {
        if !lines.is_empty() {
            text.push_str(&format!("* {table}\n{}\nCOMMIT\n", lines.join("\n")));
        }
    }
    Ok(text)
}

impl Maker<'_> {
    fn chain<'b>(&self, name: &'static str, lines: &'b mut Vec<String>) -> Chain<'b> {
        Chain { name, comments: !self.config.comments.disabled, inserted: 0, lines }
    }

    fn localhost(&self) -> &'static str {
        match self.family {
            Family::V4 => "127.0.0.1/32",
            Family::V6 => "::1/128",
        }
    }

    /// The source with which the proxy calls its workload.
    fn passthrough(&self) -> &'static str {
        match self.family {
            Family::V4 => "127.0.0.6/32",
            Family::V6 => "::6/128",
        }
    }

    /// Whether questions to name servers are redirected in this family.
    fn redirects_dns(&self) -> bool {
        let dns = &self.config.redirect.dns;
        dns.enabled && (dns.capture_all || !self.machine.dns_servers.is_empty())
    }

    /// Answers and questions of the DNS proxy are told apart from those of applications.
    fn raw(&self) -> Vec<String> {
        let dns = &self.config.redirect.dns;
        let in_docker = dns.capture_all && self.machine.has_docker_output;
        if !self.redirects_dns() || dns.skip_conntrack_zone_split || in_docker {
            return Vec::new();
        }
        let (mut lines, uid, port) = (Vec::new(), &self.machine.uid, dns.port);
        let servers: Vec<_> =
            if dns.capture_all { vec![None] } else { self.machine.dns_servers.iter().map(Some).collect() };
        let of = |flag: &str, server: &Option<&String>| server.map(|ip| format!("{flag} {ip} ")).unwrap_or_default();
        let mut prerouting = self.chain("PREROUTING", &mut lines);
        for server in &servers {
            let whose = server.map_or_else(|| "all DNS responses".to_owned(), |ip| format!("DNS responses from {ip}"));
            let rule = format!("{}-p udp --sport {DNS_PORT} -j CT --zone 1", of("-s", server));
            prerouting.append(&rule, &format!("assign connection tracking zone 1 to {whose}"));
        }
        let mut output = self.chain("OUTPUT", &mut lines);
        output.append(
            &format!("-p udp --dport {DNS_PORT} -m owner --uid-owner {uid} -j CT --zone 1"),
            &format!("assign connection tracking zone 1 to DNS traffic from the kuma-dp user (UID {uid})"),
        );
        output.append(
            &format!("-p udp --sport {port} -m owner --uid-owner {uid} -j CT --zone 2"),
            "assign connection tracking zone 2 to DNS responses from the kuma-dp DNS proxy",
        );
        for server in &servers {
            let whose = server.map_or_else(|| "all DNS requests".to_owned(), |ip| format!("DNS requests to {ip}"));
            let rule = format!("{}-p udp --dport {DNS_PORT} -j CT --zone 2", of("-d", server));
            output.append(&rule, &format!("assign connection tracking zone 2 to {whose}"));
            if let Some(ip) = server.filter(|ip| is_loopback(ip)) {
                let rule = format!("-s {ip} -d {} -p udp -j CT --zone 1", self.localhost());
                output.append(&rule, &format!("assign connection tracking zone 1 to DNS responses of the local {ip}"));
            }
        }
        lines
    }

    fn nat(&self) -> Result<Vec<String>> {
        let new = [INBOUND, OUTBOUND, INBOUND_REDIRECT, OUTBOUND_REDIRECT];
        let mut lines: Vec<_> = new.iter().map(|chain| format!("-N {chain}")).collect();
        self.prerouting(&mut self.chain("PREROUTING", &mut lines))?;
        self.output(&mut self.chain("OUTPUT", &mut lines))?;
        self.inbound(&mut self.chain(INBOUND, &mut lines))?;
        self.outbound(&mut self.chain(OUTBOUND, &mut lines));
        let redirect = &self.config.redirect;
        for (chain, port) in [(INBOUND_REDIRECT, redirect.inbound.port), (OUTBOUND_REDIRECT, redirect.outbound.port)] {
            let rule = format!("-p tcp -j REDIRECT --to-ports {port}");
            self.chain(chain, &mut lines).append(&rule, &format!("redirect TCP traffic to envoy (port {port})"));
        }
        Ok(lines)
    }

    fn prerouting(&self, chain: &mut Chain<'_>) -> Result<()> {
        let redirect = &self.config.redirect;
        if self.config.log.enabled {
            chain.append(&format!("-j LOG --log-prefix PREROUTING: --log-level {}", self.config.log.level), "log");
        }
        let networks = virtual_networks(self.config, self.family)?;
        for network in &networks {
            let (interface, cidr) = (&network.interface, &network.cidr);
            if redirect.dns.enabled {
                let port = redirect.dns.port;
                chain.insert(
                    &format!("-i {interface} -m udp -p udp --dport {DNS_PORT} -j REDIRECT --to-ports {port}"),
                    &format!(
                        "redirect DNS requests on interface {interface} to the kuma-dp DNS proxy (listening on port {port})"
                    ),
                );
            }
            let port = redirect.outbound.port;
            chain.insert(
                &format!("! -d {cidr} -i {interface} -p tcp -j REDIRECT --to-ports {port}"),
                &format!(
                    "redirect TCP traffic on interface {interface}, excluding destination {cidr}, to the envoy's outbound passthrough port {port}"
                ),
            );
        }
        let rule = format!("-p tcp -j {INBOUND}");
        if !networks.is_empty() {
            chain.insert(&rule, "redirect remaining TCP traffic to our custom chain for processing");
        } else if redirect.inbound.insert_redirect_instead_of_append {
            chain.insert(&rule, "redirect inbound TCP traffic to our custom chain for processing");
        } else {
            chain.append(&rule, "redirect inbound TCP traffic to our custom chain for processing");
        }
        Ok(())
    }

    fn output(&self, chain: &mut Chain<'_>) -> Result<()> {
        const SKIP: &str = "skip further processing for configured IP addresses, ports and UIDs";
        let outbound = &self.config.redirect.outbound;
        if self.config.log.enabled {
            chain.insert(&format!("-j LOG --log-prefix OUTPUT: --log-level {}", self.config.log.level), "log");
        }
        for excluded in uid_exclusions(outbound)? {
            let (protocol, ports, uids) = (excluded.protocol, &excluded.ports, &excluded.uids);
            let rule = format!("-m multiport -p {protocol} --dport {ports} -m owner --uid-owner {uids} -j RETURN");
            chain.insert(&rule, SKIP);
        }
        for ip in excluded_ips(outbound, self.family)? {
            chain.insert(&format!("-d {ip} -j RETURN"), SKIP);
        }
        if self.redirects_dns() {
            self.output_dns(chain);
        }
        let rule = format!("-p tcp -j {OUTBOUND}");
        let comment = "redirect outbound TCP traffic to our custom chain for processing";
        if outbound.insert_redirect_instead_of_append {
            chain.insert(&rule, comment);
        } else {
            chain.append(&rule, comment);
        }
        Ok(())
    }

    fn output_dns(&self, chain: &mut Chain<'_>) {
        let (dns, uid) = (&self.config.redirect.dns, &self.machine.uid);
        let end = if self.machine.has_docker_output { "DOCKER_OUTPUT" } else { "RETURN" };
        chain.insert(
            &format!("-p udp --dport {DNS_PORT} -m owner --uid-owner {uid} -j {end}"),
            "return early for DNS traffic from kuma-dp",
        );
        chain.append(
            &format!("-p tcp --dport {DNS_PORT} -m owner ! --uid-owner {uid} -j RETURN"),
            &format!(
                "allow applications to perform DNS queries over TCP to port 53 without mesh redirection (only traffic not owned by UID {uid} (kuma-dp user))"
            ),
        );
        let port = dns.port;
        if dns.capture_all {
            chain.insert(
                &format!("-p udp --dport {DNS_PORT} -j REDIRECT --to-ports {port}"),
                &format!("redirect all DNS requests to the kuma-dp DNS proxy (listening on port {port})"),
            );
            return;
        }
        for server in &self.machine.dns_servers {
            chain.insert(
                &format!("-d {server} -p udp --dport {DNS_PORT} -j REDIRECT --to-ports {port}"),
                &format!("redirect DNS requests to {server} to the kuma-dp DNS proxy (listening on port {port})"),
            );
        }
    }

    fn inbound(&self, chain: &mut Chain<'_>) -> Result<()> {
        let inbound = &self.config.redirect.inbound;
        if !inbound.enabled {
            chain.append("-p tcp -j RETURN", "inbound traffic is not redirected");
            return Ok(());
        }
        for ip in excluded_ips(inbound, self.family)? {
            chain.append(&format!("-s {ip} -j RETURN"), "skip further processing for configured IP address");
        }
        exclude_ports(chain, inbound, "inbound");
        let all = "redirect all inbound traffic to the custom chain for processing";
        include(chain, inbound, ("inbound", INBOUND_REDIRECT), "-p tcp ", all);
        Ok(())
    }

    fn outbound(&self, chain: &mut Chain<'_>) {
        let outbound = &self.config.redirect.outbound;
        if !outbound.enabled {
            chain.append("-p tcp -j RETURN", "outbound traffic is not redirected");
            return;
        }
        exclude_ports(chain, outbound, "outbound");
        let (uid, lo) = (&self.machine.uid, &self.machine.loopback);
        let (own, localhost) = (self.passthrough(), self.localhost());
        chain.append(
            &format!("-s {own} -o {lo} -j RETURN"),
            &format!("prevent traffic loops by ensuring traffic from the sidecar proxy (using {own}) to loopback interface is not redirected again"),
        );
        chain.append(
            &format!("-p tcp -o {lo} ! -d {localhost} -m owner --uid-owner {uid} -j {INBOUND_REDIRECT}"),
            &format!("redirect outbound TCP traffic destined for loopback interface, but not targeting address {localhost}, and owned by UID {uid} (kuma-dp user) to {INBOUND_REDIRECT} chain for proper handling"),
        );
        chain.append(
            &format!("-p tcp -o {lo} -m owner ! --uid-owner {uid} -j RETURN"),
            &format!("return outbound TCP traffic destined for loopback interface, owned by any UID other than {uid} (kuma-dp user)"),
        );
        chain.append(
            &format!("-m owner --uid-owner {uid} -j RETURN"),
            &format!("return outbound traffic owned by UID {uid} (kuma-dp user)"),
        );
        chain.append(
            &format!("-d {localhost} -j RETURN"),
            &format!("return traffic destined for localhost ({localhost}) to avoid redirection"),
        );
        let all = "redirect all other outbound traffic to our custom chain for further processing";
        include(chain, outbound, ("outbound", OUTBOUND_REDIRECT), "", all);
    }

    fn mangle(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.config.drop_invalid_packets {
            let mut chain = self.chain("PREROUTING", &mut lines);
            chain.append("-m conntrack --ctstate INVALID -j DROP", "drop packets in invalid states");
        }
        lines
    }
}

fn is_loopback(ip: &str) -> bool {
    ip.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Ports that are left out; they do not count when only some are taken in.
fn exclude_ports(chain: &mut Chain<'_>, direction: &Direction, name: &str) {
    if direction.include_ports.0.is_empty() {
        for port in &direction.exclude_ports.0 {
            let comment = format!("exclude {name} traffic from port {port} from redirection");
            chain.append(&format!("-p tcp --dport {port} -j RETURN"), &comment);
        }
    }
}

/// The ports that are taken in, or everything that `all` matches.
fn include(chain: &mut Chain<'_>, direction: &Direction, (name, target): (&str, &str), all: &str, comment: &str) {
    if direction.include_ports.0.is_empty() {
        chain.append(&format!("{all}-j {target}"), comment);
    }
    for port in &direction.include_ports.0 {
        let comment = format!("redirect {name} traffic of port {port} to the custom chain for processing");
        chain.append(&format!("-p tcp --dport {port} -j {target}"), &comment);
    }
}
