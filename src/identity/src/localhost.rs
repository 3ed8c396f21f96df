//! Whether a request comes from a program on this machine, and not from a browser that some web
//! page drives: only then may it be the administrator's without a token.

use std::net::{IpAddr, SocketAddr};

use crate::user::User;

/// Headers of proxies: their presence means that the peer is not the client.
const FORWARDING_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// The facts of a request that decide.
pub struct LocalRequest<'a> {
    /// The peer of the TCP connection.
    pub peer: SocketAddr,
    /// `Host` or `:authority`.
    pub host: &'a str,
    /// All values of a header, by lower-case name; a value that is not text counts as present.
    pub header: &'a dyn Fn(&str) -> Vec<String>,
}

/// The administrator when the request can only come from this machine; `None` leaves it anonymous.
///
/// All must hold: loopback peer, no forwarding header, a loopback `Host`, no cross-site
/// `Sec-Fetch-Site`, and an `Origin`, if any, that is the very host that was asked.
pub fn local_admin(request: &LocalRequest<'_>) -> Option<User> {
    let header = |name: &str| (request.header)(name);
    let peer_is_local = request.peer.ip().to_canonical().is_loopback();
    let forwarded = FORWARDING_HEADERS.into_iter().any(|name| header(name).iter().any(|v| !v.is_empty()));
    let fetch_is_harmless = header("sec-fetch-site").iter().all(|v| matches!(v.as_str(), "" | "same-origin" | "none"));
    let host = loopback_host(request.host)?;
    let origin_matches = header("origin").iter().all(|origin| same_origin(origin, &host));
    (peer_is_local && !forwarded && fetch_is_harmless && origin_matches).then(|| User::admin().authenticated())
}

/// A loopback host in canonical form, with its port if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LoopbackHost {
    name: String,
    port: Option<u16>,
}

fn loopback_host(host: &str) -> Option<LoopbackHost> {
    let (name, port) = split_port(host)?;
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
    };
    let bare = name.to_ascii_lowercase();
    let bare = bare.strip_suffix('.').unwrap_or(&bare);
    if bare == "localhost" {
        return Some(LoopbackHost { name: bare.to_owned(), port });
    }
    let ip: IpAddr = name.parse().ok()?;
    ip.to_canonical().is_loopback().then(|| LoopbackHost { name: ip.to_canonical().to_string(), port })
}

/// Splits `host[:port]`; an IPv6 literal stands in brackets when it has a port.
fn split_port(host: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = host.strip_prefix('[') {
        let (literal, after) = rest.split_once(']')?;
        literal.parse::<std::net::Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((literal, Some(port))),
            None => after.is_empty().then_some((literal, None)),
        };
    }
    match host.split_once(':') {
        None => Some((host, None)),
        Some((name, port)) if !port.contains(':') => Some((name, Some(port))),
        Some(_) => Some((host, None)),
    }
}

fn same_origin(origin: &str, host: &LoopbackHost) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    if authority.contains(['/', '?', '#', '@']) {
        return false;
    }
    loopback_host(authority).is_some_and(|of_origin| {
        of_origin.name == host.name && of_origin.port.unwrap_or(default_port) == host.port.unwrap_or(default_port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_admin(peer: &str, host: &str, headers: &[(&str, &str)]) -> bool {
        let header =
            |name: &str| headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()).collect::<Vec<_>>();
        local_admin(&LocalRequest { peer: peer.parse().unwrap(), host, header: &header }).is_some()
    }

    #[test]
    fn programs_on_this_machine_are_the_administrator() {
        for (peer, host) in [
            ("127.0.0.1:4000", "localhost:5681"),
            ("127.9.9.9:4000", "LOCALHOST."),
            ("[::1]:4000", "[::1]:5681"),
            ("[::ffff:127.0.0.1]:4000", "127.0.0.1:5681"),
        ] {
            assert!(is_admin(peer, host, &[]), "{peer} {host}");
        }
        assert!(is_admin("127.0.0.1:1", "localhost:5681", &[("origin", "http://localhost:5681")]));
        assert!(is_admin("127.0.0.1:1", "localhost:5681", &[("sec-fetch-site", "same-origin")]));
        assert!(is_admin("127.0.0.1:1", "localhost", &[("origin", "http://localhost:80")]));
    }

    #[test]
    fn requests_that_a_web_page_can_cause_stay_anonymous() {
        let local = "127.0.0.1:4000";
        for (peer, host, headers) in [
            ("10.0.0.1:4000", "localhost", vec![]),
            (local, "evil.example", vec![]),
            (local, "localhost:", vec![]),
            (local, "localhost:0", vec![]),
            (local, "localhost:+80", vec![]),
            (local, "", vec![]),
            (local, "localhost", vec![("x-forwarded-for", "1.2.3.4")]),
            (local, "localhost", vec![("forwarded", "for=1.2.3.4")]),
            (local, "localhost", vec![("sec-fetch-site", "cross-site")]),
            (local, "localhost", vec![("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]),
            (local, "localhost:5681", vec![("origin", "http://evil.example")]),
            (local, "localhost:5681", vec![("origin", "null")]),
            (local, "localhost:5681", vec![("origin", "http://localhost:3000")]),
            (local, "localhost:5681", vec![("origin", "http://127.0.0.1:5681")]),
            (local, "localhost:5681", vec![("origin", "http://localhost:5681/x")]),
            (local, "localhost:5681", vec![("origin", "http://u@localhost:5681")]),
            (local, "localhost:5681", vec![("origin", "ftp://localhost:5681")]),
        ] {
            assert!(!is_admin(peer, host, &headers), "{peer} {host} {headers:?}");
        }
    }
}
