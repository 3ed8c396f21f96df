//! Names of resources, and the DNS names, labels and addresses that fields may hold.
//!
//! The messages of the DNS and label rules are those of Kubernetes, which users and tools know.

use std::net::IpAddr;

use crate::descriptor::Kind;
use crate::registry;
use crate::violation::Violations;

/// Longest DNS name and longest name of a resource.
pub const DNS_NAME_LEN_MAX: usize = 253;
/// Longest DNS label, and longest name of a mesh, zone or destination.
pub const DNS_LABEL_LEN_MAX: usize = 63;

const DNS_1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const DNS_1123_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1123_SUBDOMAIN: &str = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const RESOURCE_NAME: &str = "invalid characters. A lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const MESH_FIELD: &str =
    "invalid characters. Valid characters are numbers, lowercase latin letters and '-', '_', '.' symbols.";

fn is_lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?` of any length.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    is_lower_alnum(*first) && is_lower_alnum(*last) && bytes.iter().all(|b| is_lower_alnum(*b) || *b == b'-')
}

/// Labels joined by dots, of any length.
fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn too_long(len_max: usize) -> String {
    format!("must be no more than {len_max} characters")
}

fn faults(text: &str, len_max: usize, well_formed: bool, rule: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if text.len() > len_max {
        messages.push(too_long(len_max));
    }
    if !well_formed {
        messages.push(rule.to_owned());
    }
    messages
}

/// What is wrong with a DNS-1035 label.
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let starts_well = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    faults(text, DNS_LABEL_LEN_MAX, starts_well && is_label(text), DNS_1035_LABEL)
}

/// What is wrong with an RFC 1123 label.
pub fn dns_1123_label(text: &str) -> Vec<String> {
    let rule = if is_subdomain(text) { "must not contain dots" } else { DNS_1123_LABEL };
    faults(text, DNS_LABEL_LEN_MAX, is_label(text), rule)
}

/// What is wrong with an RFC 1123 subdomain.
pub fn dns_1123_subdomain(text: &str) -> Vec<String> {
    faults(text, DNS_NAME_LEN_MAX, is_subdomain(text), DNS_1123_SUBDOMAIN)
}

/// Whether the text is an IPv4 or IPv6 address.
pub fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Whether the text is an address that means all interfaces.
pub fn is_unspecified(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// Whether the text is a DNS name as dataplanes may have: letters, digits, `-` and `_` in labels
/// of up to 63 characters, no IP address, an optional dot at the end.
pub fn is_dns_name(text: &str) -> bool {
    let total: usize = text.chars().filter(|c| *c != '.').count();
    if text.is_empty() || total > 255 || is_ip(text) {
        return false;
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    text.split('.').all(|label| {
        let starts_well = label.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        starts_well
            && label.len() <= DNS_LABEL_LEN_MAX
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    })
}

/// Whether the text is an IP address or a DNS name.
pub fn is_host(text: &str) -> bool {
    is_ip(text) || is_dns_name(text)
}

/// The faults of a resource's name, field `name`.
pub fn check_name(name: &str) -> Violations {
    check_identifier("name", name, is_subdomain, RESOURCE_NAME)
}

/// The faults of the mesh that a resource says it is in, field `mesh`.
pub fn check_mesh(mesh: &str) -> Violations {
    let well_formed = |text: &str| text.bytes().all(|b| is_lower_alnum(b) || matches!(b, b'-' | b'_' | b'.'));
    check_identifier("mesh", mesh, well_formed, MESH_FIELD)
}

fn check_identifier(field: &str, text: &str, well_formed: impl Fn(&str) -> bool, rule: &str) -> Violations {
    let mut violations = Violations::new();
    if text.is_empty() {
        violations.add(field, "cannot be empty");
    } else if text.len() > DNS_NAME_LEN_MAX {
        violations.add(field, "value length must less or equal 253");
    } else if !well_formed(text) {
        violations.add(field, rule);
    }
    violations
}

/// The faults of a display name by the rules of its kind, field `name`: meshes, zones and
/// destinations become DNS labels, workloads must fit a DNS name.
pub fn check_display_name(kind: Kind, display_name: &str) -> Violations {
    let mut violations = Violations::new();
    if kind == registry::MESH || kind == registry::ZONE || kind.is_destination {
        let messages = dns_1035_label(display_name);
        if !messages.is_empty() {
            violations.add("name", messages.join(", "));
        }
    } else if kind == registry::WORKLOAD && display_name.len() > DNS_NAME_LEN_MAX {
        violations.add("name", "must not be longer than 253 characters");
    }
    violations
}

/// The faults of the name of a mesh that is about to be created, field `name`.
pub fn check_new_mesh_name(name: &str) -> Violations {
    let mut violations = Violations::new();
    if name.len() > DNS_LABEL_LEN_MAX {
        violations.add("name", "cannot be longer than 63 characters");
    }
    violations
}

/// Bytes of a name that a synchronised copy keeps; a dash and the hash come after them.
const SYNCED_PREFIX_LEN_MAX: usize = DNS_NAME_LEN_MAX - 17;

/// The name under which a resource is stored on another side: its own name and a hash of its mesh,
/// its name and `extra`, which is its zone and its Kubernetes namespace as far as it has them.
pub fn synced_name(mesh: &str, name: &str, extra: &[&str]) -> String {
    const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const FNV_PRIME: u64 = 0x0100_0000_01b3;
    // Letters and digits that cannot be confused, and form no words.
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let parts = [mesh, name].into_iter().chain(extra.iter().copied());
    let hash =
        parts.flat_map(str::bytes).fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    let code: String =
        format!("{hash:016x}").bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect();
    let prefix = &name[..name.floor_char_boundary(SYNCED_PREFIX_LEN_MAX)];
    format!("{prefix}-{code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_in_kumas_words() {
        for (name, expected) in [
            ("a.b-1", None),
            ("", Some("cannot be empty")),
            ("Upper", Some(RESOURCE_NAME)),
            ("-a", Some(RESOURCE_NAME)),
            ("a..b", Some(RESOURCE_NAME)),
        ] {
            let found = check_name(name);
            assert_eq!(found.0.first().map(|v| v.message.as_str()), expected, "{name}");
        }
        assert_eq!(check_name(&"a".repeat(254)).0[0].message, "value length must less or equal 253");
        assert!(check_mesh("a_b.c-1").is_empty());
        assert_eq!(check_mesh("A").0[0].message, MESH_FIELD);
    }

    #[test]
    fn display_names_of_destinations_are_dns_labels() {
        let long = "a".repeat(64);
        for (kind, name, expected) in [
            (registry::MESH_SERVICE, "backend", None),
            (registry::MESH_SERVICE, "back.end", Some(DNS_1035_LABEL)),
            (registry::ZONE, "1a", Some(DNS_1035_LABEL)),
            (registry::MESH, long.as_str(), Some("must be no more than 63 characters")),
            (registry::MESH_TIMEOUT, "back.end", None),
        ] {
            let found = check_display_name(kind, name);
            assert_eq!(found.0.first().map(|v| v.message.as_str()), expected, "{name}");
        }
    }

    #[test]
    fn synchronised_copies_have_hashed_names() {
        for (mesh, name, extra, expected) in [
            ("default", "default-timeout-global", &[][..], "default-timeout-global-54dbd4c66zwbcf9c"),
            ("default", "redis-zone-2", &["zone-2"][..], "redis-zone-2-ff29vc4685c6f594"),
            ("", "foo", &[][..], "foo-zxw6c95d42zfz9cc"),
            ("", "foo", &["zone-1", "custom-ns"][..], "foo-696vzv497z4cv4f4"),
        ] {
            assert_eq!(synced_name(mesh, name, extra), expected);
        }
        assert_eq!(synced_name("m", &"a".repeat(300), &[]).len(), DNS_NAME_LEN_MAX);
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        for (text, expected) in [
            ("10.0.0.1", true),
            ("::1", true),
            ("example.com", true),
            ("example.com.", true),
            ("under_score", true),
            ("", false),
            ("a..b", false),
            ("-a", false),
            ("a b", false),
        ] {
            assert_eq!(is_host(text), expected, "{text}");
        }
        assert!(!is_dns_name("10.0.0.1"));
    }
}
