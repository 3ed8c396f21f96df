//! Rules that several kinds share: messages and checks of single values.

use std::fmt::Display;

use super::duration::GoDuration;
use super::int_or_string::IntOrString;
use crate::names::is_host;
use crate::violation::Violations;

pub(crate) const MUST_BE_DEFINED: &str = "must be defined";
pub(crate) const MUST_NOT_BE_DEFINED: &str = "must not be defined";
pub(crate) const MUST_NOT_BE_EMPTY: &str = "must not be empty";
pub(crate) const MUST_BE_SET: &str = "must be set";
pub(crate) const POSITIVE_WHEN_DEFINED: &str = "must be greater than zero when defined";
pub(crate) const NOT_NEGATIVE_WHEN_DEFINED: &str = "must not be negative when defined";
pub(crate) const GREATER_THAN_0: &str = "must be greater than 0";
pub(crate) const PERCENT: &str = "must be in inclusive range [0, 100]";
pub(crate) const DECIMAL_PERCENT: &str = "must be in inclusive range [0.0, 100.0]";
pub(crate) const STRING_IS_NO_NUMBER: &str = "string must be a valid number";
pub(crate) const PORT: &str = "port must be a valid (1-65535)";
pub(crate) const HOST: &str = "address has to be a valid IP or hostname";
pub(crate) const TO_OR_RULES: &str = "at least one of 'to' or 'rules' has to be defined";
/// Fields that act before the caller is known.
pub(crate) const NOT_PER_CALLER: &str =
    "can't be specified when matches contain spiffeID because this field cannot be conditioned on source identity";

/// `"field" must be one of ["a", "b"]`.
pub(crate) fn one_of(field: impl Display, texts: &[&str]) -> String {
    format!("\"{field}\" must be one of {texts:?}")
}

/// `must have at least one defined: a, b`.
pub(crate) fn at_least_one(fields: &[&str]) -> String {
    format!("must have at least one defined: {}", fields.join(", "))
}

/// A duration that must be above zero.
pub(crate) fn positive(faults: &mut Violations, path: &str, span: Option<GoDuration>) {
    if span.is_some_and(|span| span.nanos <= 0) {
        faults.add(path, POSITIVE_WHEN_DEFINED);
    }
}

/// A duration that must not be below zero.
pub(crate) fn not_negative(faults: &mut Violations, path: &str, span: Option<GoDuration>) {
    if span.is_some_and(GoDuration::is_negative) {
        faults.add(path, NOT_NEGATIVE_WHEN_DEFINED);
    }
}

/// A number that must be above zero.
pub(crate) fn above_zero(faults: &mut Violations, path: &str, number: Option<u32>) {
    if number == Some(0) {
        faults.add(path, GREATER_THAN_0);
    }
}

/// A decimal percentage.
pub(crate) fn percentage(faults: &mut Violations, path: &str, share: &IntOrString) {
    match share.as_decimal() {
        None => faults.add(path, STRING_IS_NO_NUMBER),
        Some(share) if !(0.0..=100.0).contains(&share) => faults.add(path, DECIMAL_PERCENT),
        Some(_) => {}
    }
}

/// Whether the number is a port.
pub(crate) fn is_port(number: i64) -> bool {
    (1..=65535).contains(&number)
}

/// A port.
pub(crate) fn port(faults: &mut Violations, path: &str, number: i64) {
    if !is_port(number) {
        faults.add(path, PORT);
    }
}

/// An IP address or a hostname.
pub(crate) fn host(faults: &mut Violations, path: &str, text: &str) {
    if !is_host(text) {
        faults.add(path, HOST);
    }
}

/// Whether the text is an absolute path, of Unix or with a drive.
pub(crate) fn is_file_path(text: &str) -> bool {
    let has_drive = matches!(text.as_bytes(), [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic());
    has_drive || (text.starts_with('/') && !text.contains('\0'))
}

/// Whether the text is a URL, or a host with an optional port.
pub(crate) fn is_url(text: &str) -> bool {
    const SCHEMES: &[&str] = &["ftp", "tcp", "udp", "ws", "wss", "http", "https"];
    if text.len() <= 3 || text.len() >= 2083 || text.contains(char::is_whitespace) {
        return false;
    }
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if SCHEMES.contains(&scheme) => rest,
        Some(_) => return false,
        None => text,
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let endpoint = authority.rsplit_once('@').map_or(authority, |(_, endpoint)| endpoint);
    split_port(endpoint).is_some_and(|(host, port)| {
        let port_fits =
            port.is_none_or(|port| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()));
        port_fits && is_host(host)
    })
}

/// Splits `host:port`, `host` or `[address]:port`; `None` when brackets do not match.
pub(crate) fn split_port(endpoint: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = endpoint.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((address, Some(port))),
            None if rest.is_empty() => Some((address, None)),
            None => None,
        };
    }
    Some(match endpoint.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (endpoint, None),
    })
}
