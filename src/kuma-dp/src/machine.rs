//! What kuma-dp finds out about the machine that it runs on.

use std::net::IpAddr;

/// Where distributions keep the bundle of trusted CAs.
const SYSTEM_CA_PATHS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where control groups say how much memory there is: version 1, then hybrid and version 2.
const MEMORY_LIMIT_PATHS: &[&str] = &["/sys/fs/cgroup/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"];

/// The first CA bundle that exists, or nothing.
pub(crate) fn system_ca_path() -> String {
    SYSTEM_CA_PATHS
        .iter()
        .find(|path| std::path::Path::new(path).exists())
        .map_or_else(String::new, |p| (*p).to_owned())
}

/// The memory limit of the control group in bytes; 0 when there is none.
pub(crate) fn memory_limit_bytes() -> u64 {
    let limit = MEMORY_LIMIT_PATHS.iter().find_map(|path| std::fs::read_to_string(path).ok());
    limit.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Whether any interface but loopback has an IPv6 address.
pub(crate) fn has_ipv6() -> bool {
    let Ok(addresses) = nix::ifaddrs::getifaddrs() else { return false };
    addresses.into_iter().any(|interface| {
        interface
            .address
            .and_then(|address| address.as_sockaddr_in6().map(|v6| v6.ip()))
            .is_some_and(|ip| !ip.is_loopback())
    })
}

/// Whether an address text is IPv6.
pub(crate) fn is_ipv6(address: &str) -> bool {
    matches!(address.parse(), Ok(IpAddr::V6(_)))
}

/// The path of a socket in the work directory. A path too long for a socket address is cut to 98
/// bytes before `.sock`; the control plane, which knows only the parts, cuts it the same way.
pub(crate) fn socket_path(work_dir: &str, stem: &str) -> String {
    const LEN_MAX: usize = 98;
    let mut path = format!("{}/{stem}", work_dir.trim_end_matches('/'));
    if path.len() > LEN_MAX {
        let cut = (0..=LEN_MAX).rev().find(|at| path.is_char_boundary(*at)).unwrap_or(0);
        path.truncate(cut);
    }
    path.push_str(".sock");
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_paths_are_cut_to_what_a_socket_address_holds() {
        assert_eq!(socket_path("/w", "kuma-al-web-default"), "/w/kuma-al-web-default.sock");
        let long = socket_path("/w", &"x".repeat(200));
        assert_eq!(long.len(), 98 + 5);
    }
}
