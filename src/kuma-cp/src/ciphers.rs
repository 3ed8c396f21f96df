//! Cipher suites of the servers, by the names of Go's `crypto/tls`, which Kuma's configuration uses.

use rustls::SupportedCipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Go's names, secure and insecure ones. Those that are missing from rustls are known, but never agreed.
const KNOWN: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

/// What is wrong with a name; nothing when it is known.
pub(crate) fn fault(name: &str) -> Option<String> {
    let supported = || KNOWN.join(",");
    (!KNOWN.contains(&name)).then(|| format!("unsupported tls cipher: {name} supported ciphers:[{}]", supported()))
}

/// A provider of cryptography that agrees on the named suites only; on all, when none is named. As in
/// Go, the names limit TLS 1.2: all suites of TLS 1.3 are safe and stay.
pub(crate) fn provider(names: &[String]) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !names.is_empty() {
        let is_named = |suite: &SupportedCipherSuite| {
            let name = suite.suite();
            suite.tls13().is_some() || names.iter().any(|wanted| Some(wanted.as_str()) == name.as_str())
        };
        provider.cipher_suites.retain(is_named);
    }
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(names: &[&str]) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let suites = provider(&names).cipher_suites;
        suites.iter().filter(|s| s.tls13().is_none()).filter_map(|s| s.suite().as_str().map(str::to_owned)).collect()
    }

    #[test]
    fn the_named_suites_stay_and_those_of_tls_1_3() {
        let named = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
        assert_eq!(suites(&[named, "TLS_RSA_WITH_RC4_128_SHA"]), [named]);
        assert_eq!(provider(&[named.to_owned()]).cipher_suites.iter().filter(|s| s.tls13().is_some()).count(), 3);
        assert!(suites(&["TLS_RSA_WITH_RC4_128_SHA"]).is_empty());
    }

    #[test]
    fn every_suite_has_a_name_of_go() {
        assert_eq!(suites(&[]).len(), 6);
        assert_eq!(suites(&[]).iter().find_map(|name| fault(name)), None);
    }

    #[test]
    fn an_unknown_name_is_told() {
        let fault = fault("TLS_NONE").unwrap();
        assert!(
            fault.starts_with("unsupported tls cipher: TLS_NONE supported ciphers:[TLS_AES_128_GCM_SHA256,"),
            "{fault}"
        );
    }
}
