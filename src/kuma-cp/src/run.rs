//! `kuma-cp run`: open the store, bind the ports, serve, drain.

use std::sync::Arc;
use std::time::Duration;

use actors::ControlPlane;
use anyhow::{Context, Result, bail};
use api::DirectAdmin;
use axum::Router;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::{self, ServedCertificate, hostname, server_config};
use crate::connections::Connections;
use crate::diagnostics::Diagnostics;
use crate::dp_server::{BootstrapService, ServerNames};
use crate::http_server::{Bound, Manner, Versions};
use crate::log_levels::LogLevels;
use crate::readiness::{Part, Readiness};
use crate::settings::{Loaded, Mode, Settings, TlsSettings};
use crate::store::OpenStore;
use crate::timed_stream::Patience;
use crate::version::VERSION;
use crate::{defaults, diagnostics, dp_server, group, limits, mads, note, vitals};

/// How long requests of the API may take once it drains.
const API_DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Bounds of the buckets of all histograms, in seconds.
const BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Runs the control plane until a signal, or until it cannot go on.
///
/// # Errors
/// What keeps it from starting, with the key that can change it; or a store that failed.
pub(crate) async fn run(loaded: Loaded, log_levels: LogLevels) -> Result<()> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let settings = Arc::new(loaded.settings);
    limits::raise_descriptors();
    if settings.localhost_is_admin() {
        tracing::warn!("requests from this machine are the administrator's (apiServer.authn.localhostIsAdmin)");
    }
    tracing::info!(version = VERSION, config = %settings.tree.masked(), "starting");
    let metrics = install_metrics(&settings)?;
    let keys = if crate::store::is_new(&settings.store) { defaults::Keys::ahead() } else { defaults::Keys::default() };
    let open = crate::store::open(&settings.store).await?;
    let mut parts = Parts { instance_id: instance_id(), ..Parts::default() };
    let default_resources = parts.readiness.register("default resources");
    let proxies = start_proxies(&settings, &open.store, &parts)?;
    let servers = bind(&settings, &open, proxies.as_ref(), &mut parts).await?;
    let diagnostics = parts.diagnostics(&settings, metrics, log_levels).await?;
    start_duties(&settings, &open.store, &parts, keys, default_resources)?;
    if let Some(replica) = open.replica() {
        if let Some(proxies) = &proxies {
            group::respond(&replica, proxies);
        }
        let (of_proxies, stop) = (parts.of_proxies.clone(), parts.drain.clone());
        parts.tasks.spawn(note::run(replica, proxies.clone(), of_proxies, settings.store.spreads_proxies(), stop));
    }
    let Parts { drain, tasks, .. } = parts;
    tasks.spawn(diagnostics);
    for server in servers {
        tasks.spawn(server);
    }
    let outcome = until_the_end(&open).await;
    if let (Ok(()), Some(replica)) = (&outcome, open.replica()) {
        group::hand_over(&replica).await;
    }
    drain.cancel();
    if let Some(proxies) = proxies {
        proxies.drain(settings.dp_server.graceful_shutdown_timeout).await;
    }
    tasks.close();
    tasks.wait().await;
    open.close().await;
    outcome
}

/// A server that is bound and waits to be polled.
type Server = futures::future::BoxFuture<'static, ()>;

/// What the parts share.
#[derive(Default)]
struct Parts {
    instance_id: String,
    readiness: Readiness,
    drain: CancellationToken,
    tasks: TaskTracker,
    general: Option<Arc<ServedCertificate>>,
    /// Connections of the dataplane server.
    of_proxies: Connections,
}

impl Parts {
    fn serve(&mut self, name: &'static str, bound: Bound, router: Router) -> Server {
        let part: Part = self.readiness.register(name);
        Box::pin(bound.run(router, part, self.drain.clone()))
    }

    /// The certificate of a server: its own, or the general one.
    fn certificate(&mut self, own: Option<&TlsSettings>, settings: &Settings) -> Result<Arc<ServedCertificate>> {
        if let Some(files) = own {
            return self.watched(files.clone());
        }
        if let Some(general) = &self.general {
            return Ok(Arc::clone(general));
        }
        let general = self.watched(certificates::general(settings)?)?;
        self.general = Some(Arc::clone(&general));
        Ok(general)
    }

    fn watched(&self, files: TlsSettings) -> Result<Arc<ServedCertificate>> {
        let certificate = ServedCertificate::load(files)?;
        self.tasks.spawn(Arc::clone(&certificate).keep_fresh(self.drain.clone()));
        Ok(certificate)
    }

    /// Binds the diagnostics server, whose readiness is that of all parts registered so far.
    async fn diagnostics(
        &mut self,
        settings: &Settings,
        metrics: PrometheusHandle,
        log_levels: LogLevels,
    ) -> Result<Server> {
        let conf = &settings.diagnostics;
        let tls = if conf.tls_enabled {
            let certificate = self.certificate(conf.tls.as_ref(), settings)?;
            Some(Arc::new(server_config(certificate, None, settings, "diagnostics")?))
        } else {
            None
        };
        let manner = Manner {
            name: "diagnostics server",
            tls,
            versions: Versions::One(Patience { head: Some(Duration::from_secs(1)), ..Patience::default() }),
            drain_timeout: Duration::from_secs(1),
            connections: Connections::default(),
        };
        let bound = Bound::bind(&conf.listener, manner).await?;
        let own = self.readiness.register("diagnostics server");
        let readiness = Arc::new(std::mem::take(&mut self.readiness));
        let diagnostics = Diagnostics { readiness, metrics, log_levels: Arc::new(log_levels) };
        Ok(Box::pin(bound.run(diagnostics::router(diagnostics), own, self.drain.clone())))
    }
}

/// Binds all servers but diagnostics.
async fn bind(
    settings: &Arc<Settings>,
    open: &OpenStore,
    proxies: Option<&ControlPlane>,
    parts: &mut Parts,
) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    let store = &open.store;
    let mut state = api::ApiState::new(Arc::clone(store), settings.api(&parts.instance_id, &hostname()));
    state.group = open.group.clone();
    state.view_settings = Arc::new(settings.view(&state.view_settings));
    if let Some(proxies) = proxies {
        let admin_port = u16::try_from(settings.bootstrap_params().admin_port).unwrap_or_default();
        state.running = Some(Arc::new(proxies.clone()));
        state.envoy_admin = Some(Arc::new(DirectAdmin::new(Arc::clone(store), admin_port)));
    }
    let api = api::router(state);
    if let Some(listener) = &settings.api.http {
        let bound = Bound::bind(listener, api_manner(settings, "API server (HTTP)", None)).await?;
        servers.push(parts.serve("API server (HTTP)", bound, api.clone()));
    }
    if let Some(listener) = &settings.api.https {
        let certificate = parts.certificate(settings.api.tls.as_ref(), settings)?;
        let clients = settings.api.client_ca_file.as_deref();
        let tls = Some(Arc::new(server_config(certificate, clients, settings, "apiServer.https")?));
        let bound = Bound::bind(listener, api_manner(settings, "API server (HTTPS)", tls)).await?;
        servers.push(parts.serve("API server (HTTPS)", bound, api));
    }
    if let Some(proxies) = proxies {
        servers.push(bind_dp_server(settings, store, proxies, parts).await?);
        servers.extend(bind_mads(settings, store, proxies, parts).await?);
    }
    Ok(servers)
}

fn api_manner(settings: &Settings, name: &'static str, tls: Option<Arc<rustls::ServerConfig>>) -> Manner {
    let (versions, connections) = (Versions::One(settings.api.patience), Connections::default());
    Manner { name, tls, versions, drain_timeout: API_DRAIN_TIMEOUT, connections }
}

/// Binds the server of monitoring assignments. It is no part without which a control plane is none: when
/// its port is taken the rest is served.
async fn bind_mads(
    settings: &Settings,
    store: &Arc<dyn Store>,
    proxies: &ControlPlane,
    parts: &mut Parts,
) -> Result<Option<Server>> {
    const NAME: &str = "monitoring assignment server";
    let Some(conf) = settings.mads.as_ref().filter(|_| !settings.kubernetes) else { return Ok(None) };
    let tls = if conf.tls_enabled {
        let certificate = parts.certificate(conf.tls.as_ref(), settings)?;
        Some(Arc::new(server_config(certificate, None, settings, "monitoringAssignmentServer")?))
    } else {
        None
    };
    let patience = Patience { head: Some(Duration::from_secs(1)), ..Patience::default() };
    let (versions, connections) = (Versions::One(patience), Connections::default());
    let manner = Manner { name: NAME, tls, versions, drain_timeout: Duration::from_secs(1), connections };
    let bound = match Bound::bind(&conf.listener, manner).await {
        Ok(bound) => bound,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "Prometheus cannot discover proxies here");
            return Ok(None);
        }
    };
    let mads = mads::Mads {
        store: Arc::clone(store),
        proxies: proxies.clone(),
        fetch_timeout: conf.fetch_timeout,
        refresh_interval: conf.refresh_interval,
    };
    Ok(Some(parts.serve(NAME, bound, mads::router(mads))))
}

async fn bind_dp_server(
    settings: &Arc<Settings>,
    store: &Arc<dyn Store>,
    proxies: &ControlPlane,
    parts: &mut Parts,
) -> Result<Server> {
    let conf = &settings.dp_server;
    let certificate = parts.certificate(conf.tls.as_ref(), settings)?;
    let params = settings.bootstrap_params();
    let names = ServerNames::of_pem(&certificate.pem());
    if !params.xds_host.is_empty() && !names.hold_for(&params.xds_host) {
        let (host, listed) = (&params.xds_host, names.listed());
        bail!(
            "bootstrapServer.params.xdsHost: the certificate of the dataplane server holds for {listed}, not for {host:?}"
        );
    }
    let manner = Manner {
        name: "dataplane server",
        tls: Some(Arc::new(server_config(Arc::clone(&certificate), None, settings, "dpServer")?)),
        versions: Versions::Both { read_header_timeout: conf.read_header_timeout },
        drain_timeout: conf.graceful_shutdown_timeout,
        connections: parts.of_proxies.clone(),
    };
    let bound = Bound::bind(&conf.listener, manner).await?;
    let bootstrap = BootstrapService {
        store: Arc::clone(store),
        certificate,
        params,
        token_required: conf.authentication != "none",
    };
    let mut grpc = tonic::service::Routes::new(proxies.ads());
    if let Some(health) = proxies.health() {
        grpc = grpc.add_service(health);
    }
    let router = dp_server::router(Arc::new(bootstrap), grpc.into_axum_router());
    Ok(parts.serve("dataplane server", bound, router))
}

/// Starts the actors of proxies; a global control plane has none.
fn start_proxies(settings: &Settings, store: &Arc<dyn Store>, parts: &Parts) -> Result<Option<ControlPlane>> {
    if settings.mode == Mode::Global {
        return Ok(None);
    }
    let proxies = ControlPlane::start(Arc::clone(store), settings.proxies(&parts.instance_id)?);
    proxies.map(Some).context("could not start the actors of proxies")
}

fn start_duties(
    settings: &Arc<Settings>,
    store: &Arc<dyn Store>,
    parts: &Parts,
    keys: defaults::Keys,
    ready: Part,
) -> Result<()> {
    let stop = parts.drain.clone();
    parts.tasks.spawn(defaults::run(Arc::clone(store), Arc::clone(settings), keys, ready, stop.clone()));
    parts.tasks.spawn(vitals::run(Arc::clone(store), parts.instance_id.clone(), stop.clone()));
    parts.tasks.spawn(actors::duties::run(Arc::clone(store), settings.duties()?, stop));
    Ok(())
}

/// Waits for a signal to stop, or for the store to fail.
async fn until_the_end(open: &OpenStore) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for signals")?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        reason = open.failed() => bail!("the store failed: {reason}"),
    }
    Ok(())
}

/// `hostname-xxxx`, new at every start.
fn instance_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{}-{}", hostname(), &random[..4])
}

fn install_metrics(settings: &Settings) -> Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .add_global_label("zone", settings.zone_of_metrics())
        .set_buckets(BUCKETS)?
        .install_recorder()
        .context("metrics were started twice")
}
