//! `kumactl generate`: tokens, keys and certificates.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use identity::RsaPrivateKey;
use identity::token::{Claims, DataplaneClaims, SigningKey, UserClaims, ZoneClaims, issue};
use identity::x509::{KeyAlgorithm, Purpose, generate_for_hosts};
use jiff::{SignedDuration, Timestamp};
use model::kinds::duration::GoDuration;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{GenerateCommand, OfflineFlags};
use crate::client::Client;
use crate::key_values;

/// Generates what was asked for, on standard output.
///
/// # Errors
/// Flags that do not fit together, unreadable keys, or what the control plane says.
pub(crate) async fn run(command: GenerateCommand, client: Result<Client>) -> Result<()> {
    let generated = match command {
        GenerateCommand::DataplaneToken { valid_for, name, mesh, tag, proxy_type, workload, offline } => {
            if !matches!(proxy_type.as_str(), "" | "dataplane") {
                bail!("{proxy_type} is not a valid proxy type");
            }
            let tags = key_values::parse(&tag)?;
            let tags = tags.into_iter().map(|(key, values)| (key, sorted(values.split(',')))).collect();
            let claims = DataplaneClaims { name, mesh, tags, proxy_type, workload };
            dataplane_token(claims, valid_for, &offline, client)
                .await
                .context("failed to generate a dataplane token")?
        }
        GenerateCommand::ZoneToken { zone, valid_for, scope, offline } => {
            if !scope.is_empty() {
                bail!("invalid --scope values: [{}] (supported scopes: [])", scope.join(" "));
            }
            let body = json!({"zone": zone, "scope": scope, "validFor": go(valid_for)});
            let claims = ZoneClaims { zone, scope: Some(scope) };
            token(&claims, "/tokens/zone", body, valid_for, &offline, client)
                .await
                .context("failed to generate a zone token")?
        }
        GenerateCommand::UserToken { name, valid_for, group, offline } => {
            let body = json!({"name": name, "groups": group, "validFor": go(valid_for)});
            let claims = UserClaims { name, groups: (!group.is_empty()).then_some(group) };
            token(&claims, "/tokens/user", body, valid_for, &offline, client)
                .await
                .context("failed to generate a user token")?
        }
        GenerateCommand::SigningKey { format } => signing_key(&format)?,
        GenerateCommand::PublicKey { signing_key_path } => read_signing_key(&signing_key_path)?.public_key().to_pem(),
        GenerateCommand::TlsCertificate { kind, hostname, key_type, key_file, cert_file } => {
            return certificate(&kind, &hostname, &key_type, &key_file, &cert_file);
        }
    };
    print!("{generated}");
    std::io::stdout().flush().context("could not write to standard output")
}

fn sorted<'a>(values: impl Iterator<Item = &'a str>) -> Vec<String> {
    let set: std::collections::BTreeSet<_> = values.map(str::to_owned).collect();
    set.into_iter().collect()
}

/// A duration in Go's spelling.
fn go(duration: Duration) -> String {
    GoDuration::from(duration).to_string()
}

async fn dataplane_token(
    claims: DataplaneClaims,
    valid_for: Duration,
    offline: &OfflineFlags,
    client: Result<Client>,
) -> Result<String> {
    if valid_for.is_zero() && offline.signing_key_path.is_empty() {
        bail!("You must set a token validFor value");
    }
    let body = json!({
        "name": claims.name, "mesh": claims.mesh, "tags": claims.tags, "type": claims.proxy_type,
        "workload": claims.workload, "validFor": go(valid_for),
    });
    token(&claims, "/tokens/dataplane", body, valid_for, offline, client).await
}

/// A token from the control plane, or signed here when there is a key.
async fn token<C: Claims>(
    claims: &C,
    path: &str,
    body: Value,
    valid_for: Duration,
    offline: &OfflineFlags,
    client: Result<Client>,
) -> Result<String> {
    match (offline.signing_key_path.as_str(), offline.kid.as_str()) {
        ("", "") => client?.send(Method::POST, path, Some(body.to_string())).await?.success(),
        ("", _) => bail!("--kid cannot be used when --signing-key-path is used"),
        (_, "") => bail!("--kid is required when --signing-key-path is used"),
        (key_path, kid) => {
            let key = SigningKey { id: kid.to_owned(), key: read_signing_key(Path::new(key_path))? };
            let valid_for = SignedDuration::try_from(valid_for).context("--valid-for is too long")?;
            Ok(issue(claims, valid_for, &key, Timestamp::now())?)
        }
    }
}

fn signing_key(format: &str) -> Result<String> {
    let pem = RsaPrivateKey::generate()?.to_pem()?;
    match format {
        "pem" => Ok(pem),
        "pem-base64" => Ok(STANDARD.encode(pem)),
        _ => bail!("invalid format"),
    }
}

fn read_signing_key(path: &Path) -> Result<RsaPrivateKey> {
    let bytes =
        std::fs::read(path).with_context(|| format!("could not read a signing key file: {}", path.display()))?;
    RsaPrivateKey::parse(&bytes).context("provided file is not a PEM-encoded signing key")
}

fn certificate(kind: &str, hosts: &[String], key_type: &str, key_file: &str, cert_file: &str) -> Result<()> {
    let usage = match kind {
        "server" => Purpose::Server,
        "client" => Purpose::Client,
        other => bail!("invalid certificate type {other:?}"),
    };
    if hosts.is_empty() {
        bail!("at least one hostname must be given");
    }
    let key_type = match key_type {
        "rsa" => KeyAlgorithm::Rsa,
        "ecdsa" => KeyAlgorithm::P256,
        other => bail!("invalid key type {other:?}"),
    };
    let pair = generate_for_hosts(hosts, usage, key_type, Timestamp::now())?;
    write(key_file, 0o400, &pair.key_pem)?;
    write(cert_file, 0o600, &pair.certificate_pem)?;
    if key_file != "-" && cert_file != "-" {
        println!("Private key saved in {key_file}\nCertificate saved in {cert_file}");
    }
    Ok(())
}

fn write(path: &str, mode: u32, text: &str) -> Result<()> {
    if path == "-" {
        print!("{text}");
        return Ok(());
    }
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("could not write {path}"))
}
