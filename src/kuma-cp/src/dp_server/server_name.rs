//! Under which names the server's certificate can be verified.

use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The subject alternative names of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerNames {
    /// IP addresses.
    pub(crate) ips: Vec<IpAddr>,
    /// DNS names, with wildcards.
    pub(crate) names: Vec<String>,
}

impl ServerNames {
    /// Those of the first certificate of a PEM text; none when it cannot be read.
    pub(crate) fn of_pem(pem: &str) -> Self {
        let mut found = Self::default();
        let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return found };
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return found };
        let Ok(Some(extension)) = certificate.subject_alternative_name() else { return found };
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => found.names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => found.ips.extend(ip(bytes)),
                _ => {}
            }
        }
        found
    }

    /// Whether the certificate holds for this host (RFC 6125: a wildcard stands for one label).
    pub(crate) fn hold_for(&self, host: &str) -> bool {
        if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return self.ips.iter().any(|own| own.to_canonical() == ip.to_canonical());
        }
        let host = host.trim_end_matches('.');
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
            }
            None => name.trim_end_matches('.').eq_ignore_ascii_case(host),
        })
    }

    /// As in messages: `["10.0.0.1" "localhost"]`, addresses first.
    pub(crate) fn listed(&self) -> String {
        let ips = self.ips.iter().map(|ip| format!("{:?}", ip.to_string()));
        let names = self.names.iter().map(|name| format!("{name:?}"));
        format!("[{}]", ips.chain(names).collect::<Vec<_>>().join(" "))
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Whether the first certificate of a PEM text says that it is no authority; `None` when the text
/// holds no readable certificate.
pub(super) fn is_no_authority(pem: &str) -> Option<bool> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let constraints = certificate.basic_constraints().ok()?;
    Some(constraints.is_some_and(|constraints| !constraints.value.ca))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_as_certificates_are() {
        let names = ServerNames {
            ips: vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            names: vec!["localhost".to_owned(), "*.example.com".to_owned()],
        };
        for (host, holds) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("[::1]", true),
            ("cp.example.com", true),
            ("a.cp.example.com", false),
            ("example.com", false),
            ("10.0.0.2", false),
            ("", false),
        ] {
            assert_eq!(names.hold_for(host), holds, "{host}");
        }
        assert_eq!(names.listed(), r#"["10.0.0.1" "::1" "localhost" "*.example.com"]"#);
    }
}
