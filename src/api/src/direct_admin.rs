//! Envoy's admin API of proxies in this zone: asked at the proxy itself, over mutual TLS.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use identity::client_tls::{Trust, client_config};
use identity::token::secret_data;
use identity::x509::{Authority, CertificatePair, Purpose, issue_for_hosts};
use model::kinds::dataplane::Dataplane;
use model::{Key, Resource, Timestamp, registry};
use reqwest::Client;
use store::Store;

use crate::running::{AdminAnswer, AdminError, AdminRequest, EnvoyAdmin};

/// The secret with the authority that Envoy's admin listener trusts, and is trusted by.
const AUTHORITY: &str = "envoy-admin-ca";
/// The name that the listener asks of its clients.
const CLIENT: &str = "kuma-cp";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

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

    fn url(&self, dataplane: &Resource, request: AdminRequest) -> Option<String> {
        let networking = dataplane.spec::<Dataplane>()?.networking.as_ref()?;
        let address = &networking.address;
        let port = networking.admin.as_ref().map(|admin| admin.port).filter(|port| *port > 0);
        let port = port.unwrap_or_else(|| self.default_port.into());
        // Envoy listens on loopback without TLS.
        let scheme = if address == "127.0.0.1" { "http" } else { "https" };
        let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        Some(format!("{scheme}://{host}:{port}{}", request.path()))
    }
}

impl EnvoyAdmin for DirectAdmin {
    fn ask(&self, dataplane: &Arc<Resource>, request: AdminRequest) -> AdminAnswer {
        let url = self.url(dataplane, request);
        let (store, known) = (Arc::clone(&self.store), Arc::clone(&self.client));
        Box::pin(async move {
            let url = url.ok_or_else(|| AdminError::Unreachable("the dataplane has no address".to_owned()))?;
            let unreachable = |e: &dyn std::fmt::Display| AdminError::Unreachable(e.to_string());
            let client = tokio::task::spawn_blocking(move || client(&*store, &known)).await;
            let client = client.map_err(|e| unreachable(&e))?.map_err(AdminError::Unreachable)?;
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
