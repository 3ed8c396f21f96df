//! Envoy's admin API of proxies in this zone: asked at the proxy itself, over mutual TLS.
//!
//! A dataplane on a loopback address has no such listener, as it would clash with Envoy's own. Its proxy
//! is on this machine, so its admin socket is asked: the one that Envoy told when it connected.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use identity::client_tls::{Trust, client_config};
use identity::token::secret_data;
use identity::x509::{Authority, CertificatePair, Purpose, issue_for_hosts};
use model::kinds::dataplane::Dataplane;
use model::kinds::dataplane_insight::DataplaneInsight;
use model::{Key, Resource, Timestamp, registry};
use reqwest::Client;
use reqwest::redirect::Policy;
use store::Store;

use crate::running::{AdminAnswer, AdminError, AdminRequest, EnvoyAdmin};

/// The secret with the authority that Envoy's admin listener trusts, and is trusted by.
const AUTHORITY: &str = "envoy-admin-ca";
/// The name that the listener asks of its clients.
const CLIENT: &str = "kuma-cp";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The host that a Unix socket is asked for.
const LOCALHOST: &str = "http://localhost";
/// What a bootstrap calls the socket of Envoy's admin API. Nothing else is asked: the path comes from the
/// proxy and could name any socket that this process may open.
const SOCKET_NAME: &str = "kuma-envoy-admin.sock";

/// Asks proxies at their own address.
pub struct DirectAdmin {
    store: Arc<dyn Store>,
    /// `bootstrapServer.params.adminPort`: the port of dataplanes that name none.
    default_port: u16,
    /// The client, and the version of the authority that it was made for.
    client: Arc<Mutex<Option<(u64, Client)>>>,
}

impl DirectAdmin {
    /// Asks proxies of dataplanes in `store`; `default_port` is for those that name none.
    pub fn new(store: Arc<dyn Store>, default_port: u16) -> Self {
        Self { store, default_port, client: Arc::default() }
    }

    fn target(&self, dataplane: &Resource) -> Option<Target> {
        let networking = dataplane.spec::<Dataplane>()?.networking.as_ref()?;
        let address = &networking.address;
        if is_loopback(address)
            && let Some(path) = self.socket(dataplane)
        {
            return Some(Target::Socket(path));
        }
        let port = networking.admin.as_ref().map(|admin| admin.port).filter(|port| *port > 0);
        let port = port.unwrap_or_else(|| self.default_port.into());
        // Envoy listens on loopback without TLS.
        let scheme = if address == "127.0.0.1" { "http" } else { "https" };
        let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        Some(Target::Network(format!("{scheme}://{host}:{port}")))
    }

    /// The admin socket that the proxy told when it connected.
    fn socket(&self, dataplane: &Resource) -> Option<PathBuf> {
        let key = Key::new(registry::DATAPLANE_INSIGHT, &dataplane.key.mesh, &dataplane.key.name);
        let state = self.store.snapshot();
        let metadata = state.get(&key)?.spec::<DataplaneInsight>()?.metadata.as_ref()?;
        let path = PathBuf::from(metadata.get("dataplane.admin.socketPath")?.as_str()?);
        (path.is_absolute() && path.file_name()? == SOCKET_NAME).then_some(path)
    }
}

/// Where a proxy is asked.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// Scheme, host and port.
    Network(String),
    /// A Unix socket of this machine.
    Socket(PathBuf),
}

fn is_loopback(address: &str) -> bool {
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl EnvoyAdmin for DirectAdmin {
    fn ask(&self, dataplane: &Arc<Resource>, request: AdminRequest) -> AdminAnswer {
        let target = self.target(dataplane);
        let (store, known) = (Arc::clone(&self.store), Arc::clone(&self.client));
        Box::pin(async move {
            let target = target.ok_or_else(|| AdminError::Unreachable("the dataplane has no address".to_owned()))?;
            let unreachable = |e: &dyn std::fmt::Display| AdminError::Unreachable(e.to_string());
            let (client, base) = match target {
                Target::Socket(path) => (socket_client(&path).map_err(|e| unreachable(&e))?, LOCALHOST.to_owned()),
                Target::Network(base) => {
                    let client = tokio::task::spawn_blocking(move || client(&*store, &known)).await;
                    (client.map_err(|e| unreachable(&e))?.map_err(AdminError::Unreachable)?, base)
                }
            };
            let url = format!("{base}{}", request.path());
            let response = client.get(url).send().await.map_err(|e| unreachable(&e))?;
            let status = response.status();
            let body = response.bytes().await.map_err(|e| unreachable(&e))?;
            if !status.is_success() {
                let text = String::from_utf8_lossy(&body);
                return Err(AdminError::Unreachable(format!("envoy response [{status}] [{text}]")));
            }
            Ok(body.to_vec())
        })
    }
}

/// A client of a Unix socket, which follows no redirect away from it.
fn socket_client(path: &Path) -> Result<Client, String> {
    // The socket speaks plain HTTP: of TLS the builder needs a configuration, not a trust.
    let tls = client_config(&Trust::Nobody, None).map_err(|e| e.to_string())?;
    let builder = Client::builder().tls_backend_preconfigured(tls).unix_socket(path).no_proxy();
    builder.redirect(Policy::none()).timeout(TOTAL_TIMEOUT).build().map_err(|e| e.to_string())
}

/// The client for the present authority; it is made anew when that changes.
fn client(store: &dyn Store, known: &Mutex<Option<(u64, Client)>>) -> Result<Client, String> {
    let state = store.snapshot();
    let secret = state.get(&Key::global(registry::GLOBAL_SECRET, AUTHORITY));
    let secret = secret.ok_or_else(|| format!("there is no GlobalSecret {AUTHORITY}"))?;
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((version, client)) = &*known
        && *version == secret.meta.version
    {
        return Ok(client.clone());
    }
    let made = make_client(secret)?;
    *known = Some((secret.meta.version, made.clone()));
    Ok(made)
}

fn make_client(secret: &Resource) -> Result<Client, String> {
    let bundle = String::from_utf8(secret_data(secret).unwrap_or_default()).map_err(|e| e.to_string())?;
    let pair = CertificatePair::from_bundle(&bundle).ok_or_else(|| format!("{AUTHORITY} holds no certificate"))?;
    let authority = Authority::load(&pair).map_err(|e| e.to_string())?;
    let own = issue_for_hosts(&authority, &[CLIENT.to_owned()], Purpose::Client, Timestamp::now());
    let own = own.map_err(|e| e.to_string())?;
    let trust = Trust::Pem(pair.certificate_pem);
    let tls = client_config(&trust, Some((&own.certificate_pem, &own.key_pem))).map_err(|e| e.to_string())?;
    let builder = Client::builder().tls_backend_preconfigured(tls).no_proxy();
    builder.connect_timeout(CONNECT_TIMEOUT).timeout(TOTAL_TIMEOUT).build().map_err(|e| e.to_string())
}
