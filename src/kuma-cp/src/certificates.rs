//! Certificates of the servers: from files, which are read again when they change, or generated
//! once and kept in the work directory.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use identity::x509::{CertificatePair, KeyAlgorithm, SelfSignedServer, generate_self_signed};
use model::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use crate::ciphers;
use crate::settings::{Settings, TlsSettings};

/// How often files are looked at for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// Sections of the servers that may use the general certificate.
const SECTIONS: &[&str] = &["dpServer", "apiServer.https", "diagnostics", "monitoringAssignmentServer"];

/// The certificate of one server, as it is now.
#[derive(Debug)]
pub(crate) struct ServedCertificate {
    files: TlsSettings,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    pem: String,
    modified: Option<SystemTime>,
}

impl ServedCertificate {
    /// Loads a pair of files.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub(crate) fn load(files: TlsSettings) -> Result<Arc<Self>> {
        let loaded = read(&files)?;
        Ok(Arc::new(Self { files, current: ArcSwap::from_pointee(loaded) }))
    }

    /// The chain in PEM.
    pub(crate) fn pem(&self) -> String {
        self.current.load().pem.clone()
    }

    /// Reads the files again whenever they changed, until `stop`. What cannot be read leaves the
    /// former certificate in place.
    pub(crate) async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(RELOAD_INTERVAL);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if modified(&self.files) == self.current.load().modified {
                continue;
            }
            match read(&self.files) {
                Ok(loaded) => {
                    self.current.store(Arc::new(loaded));
                    tracing::info!(certificate = %self.files.certificate.display(), "certificate was reloaded");
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "certificate was not reloaded"),
            }
        }
    }
}

impl ResolvesServerCert for ServedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

fn modified(files: &TlsSettings) -> Option<SystemTime> {
    let of = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    of(&files.certificate).max(of(&files.key))
}

fn read(files: &TlsSettings) -> Result<Loaded> {
    let modified = modified(files);
    let pem = fs::read_to_string(&files.certificate)
        .with_context(|| format!("could not read certificate {}", files.certificate.display()))?;
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} is no PEM certificate", files.certificate.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate", files.certificate.display());
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("could not read private key {}", files.key.display()))?;
    let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .with_context(|| format!("{} is not the key of {}", files.key.display(), files.certificate.display()))?;
    Ok(Loaded { key: Arc::new(key), pem, modified })
}

/// The TLS configuration of a server. With a file of CAs, clients must show a certificate of one of them.
///
/// # Errors
/// When the configured versions leave none, or the file holds no CA.
pub(crate) fn server_config(
    certificate: Arc<ServedCertificate>,
    client_ca_file: Option<&Path>,
    settings: &Settings,
    section: &str,
) -> Result<ServerConfig> {
    let versions = protocol_versions(settings, section)?;
    let provider = ciphers::provider(&settings.tls_cipher_suites(section));
    let builder = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&versions)?;
    let builder = match client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => builder.with_client_cert_verifier(client_verifier(file, section)?),
    };
    let mut config = builder.with_cert_resolver(certificate);
    // Proxies speak HTTP/2; the other servers speak what Kuma's speak.
    config.alpn_protocols = if section == "dpServer" { vec![b"h2".to_vec()] } else { Vec::new() };
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

fn client_verifier(file: &Path, section: &str) -> Result<Arc<dyn ClientCertVerifier>> {
    let context = || format!("{section}.tlsCaFile: could not read the CAs of clients from {}", file.display());
    let pem = fs::read_to_string(file).with_context(context)?;
    identity::client_verifier::client_verifier(&pem).with_context(context)
}

fn protocol_versions(settings: &Settings, section: &str) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let (min, max) = settings.tls_versions(section);
    let mut versions = Vec::new();
    if min != "TLSv1_3" {
        versions.push(&rustls::version::TLS12);
    }
    if max != "TLSv1_2" {
        versions.push(&rustls::version::TLS13);
    }
    if versions.is_empty() {
        bail!("{section}.tlsMinVersion {min} and {section}.tlsMaxVersion {max} leave no version");
    }
    Ok(versions)
}

/// The files of the general certificate: the configured ones, or those in the work directory, which
/// are made when they are not there.
///
/// # Errors
/// When the directory cannot be written.
pub(crate) fn general(settings: &Settings) -> Result<TlsSettings> {
    if let Some(files) = &settings.general_tls {
        return Ok(files.clone());
    }
    let dir = &settings.work_dir;
    let files = TlsSettings { certificate: dir.join("kuma-cp.crt"), key: dir.join("kuma-cp.key") };
    let is_there = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    if is_there(&files.certificate) && is_there(&files.key) {
        return Ok(files);
    }
    let hosts = own_hosts();
    tracing::info!(dir = %dir.display(), ?hosts, "generating a self-signed certificate for all servers");
    let server = SelfSignedServer { common_name: "kuma-control-plane", hosts: &hosts, algorithm: algorithm(settings) };
    let pair = generate_self_signed(server, Timestamp::now())?;
    write_pair(dir, &files, &pair).with_context(|| {
        format!("could not write the generated certificate into {} (general.workDir)", dir.display())
    })?;
    Ok(files)
}

/// Elliptic keys make a handshake many times cheaper, which counts when thousands of proxies connect at
/// once. Configured cipher suites may be those of RSA alone.
fn algorithm(settings: &Settings) -> KeyAlgorithm {
    let is_limited = SECTIONS.iter().any(|section| !settings.tls_cipher_suites(section).is_empty());
    if is_limited { KeyAlgorithm::Rsa } else { KeyAlgorithm::P256 }
}

fn write_pair(dir: &Path, files: &TlsSettings, pair: &CertificatePair) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for (path, text) in [(&files.certificate, &pair.certificate_pem), (&files.key, &pair.key_pem)] {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    Ok(())
}

/// Names and addresses of this machine.
fn own_hosts() -> Vec<String> {
    let mut hosts = vec![hostname(), "localhost".to_owned()];
    let addresses = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    });
    hosts.extend(addresses.map(|address| address.to_string()));
    hosts.sort();
    hosts.dedup();
    hosts.retain(|host| !host.is_empty());
    hosts
}

/// The name of this machine.
pub(crate) fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::load;

    fn settings(dir: &Path) -> Settings {
        let dir = dir.display().to_string();
        let variable = move |name: &str| (name == "KUMA_GENERAL_WORK_DIR").then(|| dir.clone());
        load(None, &variable).unwrap().settings
    }

    #[test]
    fn a_generated_certificate_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir.path().join("work"));
        let files = general(&settings).unwrap();
        let first = ServedCertificate::load(files.clone()).unwrap().pem();
        assert_eq!(general(&settings).unwrap(), files);
        let served = ServedCertificate::load(files).unwrap();
        assert_eq!(served.pem(), first);
        server_config(served, None, &settings, "dpServer").unwrap();
        assert!(own_hosts().contains(&"127.0.0.1".to_owned()));
    }

    #[test]
    fn a_key_of_another_certificate_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let one = general(&settings(&dir.path().join("one"))).unwrap();
        let two = general(&settings(&dir.path().join("two"))).unwrap();
        let mixed = TlsSettings { certificate: one.certificate, key: two.key };
        let error = format!("{:#}", ServedCertificate::load(mixed).unwrap_err());
        assert!(error.contains("is not the key of"), "{error}");
    }
}
