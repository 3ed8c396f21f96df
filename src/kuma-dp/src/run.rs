//! `kuma-dp run`: from settings to a running proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, json};
use tempfile::TempDir;

use crate::bootstrap::{self, Bootstrap, Request};
use crate::dataplane::{self, DataplaneResource};
use crate::dns::{DnsHandler, DnsServer, SharedRecords, Upstreams, listen_addresses};
use crate::dynamic_config::{Fetcher, Handler};
use crate::envoy::admin::{AdminAddress, AdminClient};
use crate::envoy::binary;
use crate::envoy::process::Invocation;
use crate::lifecycle::{Components, Drain, Signals};
use crate::machine::{self, is_ipv6, socket_path};
use crate::metrics::{self, MetricsHandler, Scraper, SharedConfig};
use crate::otel::{self, OtelHandler, SharedPlan};
use crate::probes;
use crate::readiness::{self, Readiness};
use crate::settings::flags::RunFlags;
use crate::settings::{Settings, TransparentProxy, env};
use crate::token::{TokenFile, write_private};
use crate::{access_log, version};

/// How long Envoy's admin interface may take.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Runs the proxy until it is told to stop.
///
/// # Errors
/// Whatever keeps the proxy from running; the message says what to do.
pub(crate) async fn run(flags: RunFlags, log_level: &str) -> Result<()> {
    let mut signals = Signals::listen()?;
    let proxy = tokio::select! {
        prepared = prepare(flags, log_level) => prepared?,
        () = signals.stop() => anyhow::bail!("stopped while fetching the bootstrap configuration"),
    };
    proxy.run(signals).await
}

/// The settings in force.
fn settle(flags: RunFlags, log_level: &str) -> Result<Settings> {
    let lookup = |name: &str| std::env::var(name).ok();
    let mut settings = Settings::default();
    let (transparent, files) = (flags.transparent_proxy, flags.transparent_proxy_config.clone());
    flags.apply(&mut settings)?;
    env::apply(&mut settings, lookup)?;
    if !settings.has_resource() {
        settings.complete_name(lookup);
    }
    settings.validate()?;
    if transparent == Some(true) || !files.is_empty() {
        let mut proxy = TransparentProxy::load(&files)?;
        proxy.redirect.dns.enabled = settings.dns.enabled;
        proxy.redirect.dns.port = settings.dns.proxy_port;
        settings.dataplane_runtime.transparent_proxy = Some(proxy);
    }
    if settings.dataplane_runtime.envoy_log_level.is_empty() {
        log_level.clone_into(&mut settings.dataplane_runtime.envoy_log_level);
    }
    if settings.dataplane_runtime.system_ca_path.is_empty() {
        settings.dataplane_runtime.system_ca_path = machine::system_ca_path();
    }
    let control_plane = &mut settings.control_plane;
    if control_plane.ca_cert.is_empty() && !control_plane.ca_cert_file.is_empty() {
        let path = &control_plane.ca_cert_file;
        control_plane.ca_cert =
            std::fs::read_to_string(path).with_context(|| format!("could not read certificate file {path}"))?;
    }
    settings.dataplane_runtime.ipv6_enabled &= machine::has_ipv6();
    Ok(settings)
}

/// A proxy that is ready to be started.
struct Proxy {
    settings: Settings,
    mesh: String,
    name: String,
    has_transparent_proxy: bool,
    /// Whether traffic of this machine is known to be redirected into the proxy.
    is_redirected: bool,
    work_dir: PathBuf,
    /// Removes the work directory at exit when it is ours.
    _temporary: Option<TempDir>,
    envoy: PathBuf,
    bootstrap: Bootstrap,
    dns: Option<(DnsServer, SharedRecords)>,
}

async fn prepare(flags: RunFlags, log_level: &str) -> Result<Proxy> {
    let mut settings = settle(flags, log_level)?;
    tracing::info!(settings = %serde_json::to_string(&settings)?, "effective configuration");
    let resource = dataplane::load(&settings)?;
    if let Some(resource) = &resource {
        settings.dataplane.mesh.clone_from(&resource.mesh);
        settings.dataplane.name.clone_from(&resource.name);
    }
    let (work_dir, temporary) = make_work_dir(&settings.dataplane_runtime.work_dir)?;
    let envoy = binary::find(&settings.dataplane_runtime.binary_path)?;
    let runtime = &settings.dataplane_runtime;
    let token = TokenFile::prepare(
        &runtime.dataplane_token,
        &runtime.dataplane_token_path,
        &work_dir,
        &settings.dataplane.name,
    )?;
    // Ports are bound before the control plane is asked, so that a clash is told at once.
    let dns = if settings.dns.enabled { Some(bind_dns(&settings).await?) } else { None };
    let bootstrap = bootstrap::fetch(&settings, async || {
        request(&settings, resource.as_ref(), token.as_ref(), &work_dir, &envoy).await
    })
    .await?;
    write_private(&work_dir.join("bootstrap.yaml"), bootstrap.yaml.as_bytes())?;
    let redirects = |resource: &DataplaneResource| resource.json.contains("\"transparentProxying\"");
    let is_redirected =
        settings.dataplane_runtime.transparent_proxy.is_some() || resource.as_ref().is_some_and(redirects);
    // A Dataplane that only the control plane has may want redirection.
    let has_transparent_proxy = is_redirected || resource.is_none();
    Ok(Proxy {
        mesh: settings.dataplane.mesh.clone(),
        name: settings.dataplane.name.clone(),
        has_transparent_proxy,
        is_redirected,
        settings,
        work_dir,
        _temporary: temporary,
        envoy,
        bootstrap,
        dns,
    })
}

fn make_work_dir(configured: &str) -> Result<(PathBuf, Option<TempDir>)> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if configured.is_empty() {
        let temporary = tempfile::Builder::new()
            .prefix("kuma-dp-")
            .permissions(std::fs::Permissions::from_mode(0o711))
            .tempdir()
            .context("could not make a temporary work directory")?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    }
    let path = PathBuf::from(configured);
    if !path.exists() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&path)
            .with_context(|| format!("--work-dir: could not make {configured}"))?;
    }
    Ok((path, None))
}

async fn bind_dns(settings: &Settings) -> Result<(DnsServer, SharedRecords)> {
    let port = u16::try_from(settings.dns.proxy_port).context("--dns-proxy-port")?;
    let addresses = listen_addresses(settings.dataplane_runtime.transparent_proxy.as_ref(), port);
    let records = SharedRecords::default();
    let upstreams = Upstreams::from_resolv_conf(RESOLV_CONF)?;
    Ok((DnsServer::bind(&addresses, records.clone(), upstreams).await?, records))
}

async fn request(
    settings: &Settings,
    resource: Option<&DataplaneResource>,
    token: Option<&TokenFile>,
    work_dir: &Path,
    envoy: &Path,
) -> Result<Request> {
    let envoy_version = binary::version(envoy).await?;
    if !envoy_version.kuma_dp_compatible {
        tracing::info!(version = envoy_version.version, "this Envoy is not of the version that kuma-dp was made for");
    }
    let runtime = &settings.dataplane_runtime;
    let (resources, metrics_resources, spire_resources) = bootstrap::resources(settings);
    let mut dynamic_metadata = Map::new();
    if let Ok(host_ip) = std::env::var("HOST_IP") {
        dynamic_metadata.insert("HOST_IP".to_owned(), host_ip.into());
    }
    Ok(Request {
        mesh: settings.dataplane.mesh.clone(),
        name: settings.dataplane.name.clone(),
        proxy_type: settings.dataplane.proxy_type.clone(),
        dataplane_token: token.map(TokenFile::read).transpose()?.unwrap_or_default(),
        dataplane_token_path: token.map(|t| t.path().display().to_string()).unwrap_or_default(),
        dataplane_resource: resource.map(|r| r.json.clone()).unwrap_or_default(),
        version: json!({"kumaDp": version::build_info(), "envoy": envoy_version}),
        ca_cert: settings.control_plane.ca_cert.clone(),
        dynamic_metadata,
        otel_env: Some(json!({"pipeEnabled": runtime.otel_pipe_enabled})),
        dns_port: settings.dns.proxy_port,
        readiness_port: settings.dataplane.readiness_port,
        app_probe_proxy_disabled: settings.application_probe_proxy_port > 0,
        operating_system: std::env::consts::OS.to_owned(),
        features: bootstrap::features(settings),
        resources,
        workdir: work_dir.display().to_string(),
        metrics_resources,
        system_ca_path: runtime.system_ca_path.clone(),
        dataplane_config: runtime.transparent_proxy.clone(),
        ipv6_enabled: runtime.ipv6_enabled,
        spire_resources,
    })
}

impl Proxy {
    async fn run(self, signals: Signals) -> Result<()> {
        let admin_address = AdminAddress::of(&self.bootstrap.value);
        let waits_for_dns = self.dns.is_some() && self.has_transparent_proxy;
        let readiness = Arc::new(Readiness::new(waits_for_dns, admin_address.as_ref())?);
        let mut components = Components::default();
        self.start(&mut components, admin_address.as_ref(), &readiness)?;
        self.add_probes(&mut components).await?;
        let admin = admin_address.map(|address| AdminClient::new(&address, ADMIN_TIMEOUT)).transpose()?;
        let (name, mesh) = (self.name.clone(), self.mesh.clone());
        let time = self.settings.dataplane.drain_time;
        let Self { dns, .. } = self;
        if let Some((server, _)) = dns {
            components.add("dns-server", server.run(components.stop_token()));
        }
        tracing::info!(mesh, dataplane = name, "starting the data plane proxy");
        components.run(signals, Drain { readiness, admin, time }).await
    }

    fn start(
        &self,
        components: &mut Components,
        admin: Option<&AdminAddress>,
        readiness: &Arc<Readiness>,
    ) -> Result<()> {
        let settings = &self.settings;
        let work_dir = self.work_dir.display().to_string();
        let stop = components.stop_token();
        let envoy = Invocation {
            binary: self.envoy.clone(),
            config_path: self.work_dir.join("bootstrap.yaml"),
            drain_time: settings.dataplane.drain_time,
            log_level: settings.dataplane_runtime.envoy_log_level.clone(),
            component_log_level: settings.dataplane_runtime.envoy_component_log_level.clone(),
            concurrency: settings.dataplane_runtime.concurrency,
        };
        components.add("envoy", envoy.spawn()?.watch(stop.clone()));

        let mut handlers: Vec<Box<dyn Handler>> = Vec::new();
        if let Some((_, records)) = &self.dns {
            handlers.push(Box::new(DnsHandler { records: records.clone(), readiness: Arc::clone(readiness) }));
        }
        let metrics_config = SharedConfig::default();
        handlers.push(Box::new(MetricsHandler(Arc::clone(&metrics_config))));
        let telemetry = SharedPlan::default();
        handlers.push(Box::new(OtelHandler(Arc::clone(&telemetry))));
        self.add_metrics(components, admin, metrics_config, telemetry)?;
        let interval = settings.dataplane_runtime.dynamic_configuration_refresh_interval;
        let fetcher = Fetcher::new(&socket_path(&work_dir, "kuma-mesh-metric-config"), interval, handlers)?;
        components.add("config-fetcher", fetcher.run(stop.clone()));

        let (base, max) =
            (settings.dataplane.resilient_component_base_backoff, settings.dataplane.resilient_component_max_backoff);
        let pipe = PathBuf::from(socket_path(&work_dir, &format!("kuma-al-{}-{}", self.name, self.mesh)));
        let log_stop = stop.clone();
        components
            .add_resilient("access-log-streamer", base, max, move || access_log::run(pipe.clone(), log_stop.clone()));

        let port = u16::try_from(settings.dataplane.readiness_port).context("KUMA_READINESS_PORT")?;
        let in_kubernetes = std::env::var_os("POD_NAME").is_some();
        let address = readiness::bind_address(admin, in_kubernetes, &self.bootstrap.dataplane_address, port);
        components.add("readiness-reporter", readiness::serve(Arc::clone(readiness), address, stop));
        Ok(())
    }

    /// Serves probes of the workload when a port is set for that.
    async fn add_probes(&self, components: &mut Components) -> Result<()> {
        let port = self.settings.application_probe_proxy_port;
        if port == 0 {
            return Ok(());
        }
        let port = u16::try_from(port).context("KUMA_APPLICATION_PROBE_PROXY_PORT")?;
        let any: IpAddr = if is_ipv6(&self.bootstrap.dataplane_address) {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let listener = tokio::net::TcpListener::bind((any, port)).await.with_context(|| {
            format!("could not listen on port {port} for probes (KUMA_APPLICATION_PROBE_PROXY_PORT); is it taken?")
        })?;
        let target = probes::Target::of(&self.bootstrap.dataplane_address)?;
        components.add("application-probe-proxy", probes::serve(listener, target, components.stop_token()));
        Ok(())
    }

    fn add_metrics(
        &self,
        components: &mut Components,
        admin: Option<&AdminAddress>,
        config: SharedConfig,
        telemetry: SharedPlan,
    ) -> Result<()> {
        let envoy = admin.map(|address| AdminClient::new(address, ADMIN_TIMEOUT)).transpose()?;
        let address = &self.bootstrap.dataplane_address;
        let scraper = Arc::new(Scraper::new(envoy, address, self.is_redirected, config, version::VERSION)?);
        let stem = format!("kuma-mh-{}-{}", self.name, self.mesh);
        let socket = PathBuf::from(socket_path(&self.work_dir.display().to_string(), &stem));
        let stop = components.stop_token();
        components.add("otel-pipe", otel::run(telemetry, Arc::clone(&scraper), stop.clone()));
        components.add("metrics-hijacker", async move { metrics::hijacker::serve(scraper, &socket, stop).await });
        Ok(())
    }
}
