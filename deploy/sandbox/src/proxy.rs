//! A dataplane of the sandbox: an agent and its Envoy.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::Sandbox;
use crate::control_plane::ControlPlane;
use crate::ports::{free_port, free_ports};
use crate::process::Process;

/// How long a proxy may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How long an answer through a proxy may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A destination that a proxy's workload calls.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Kind of the destination, as `MeshService`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
}

/// What a dataplane is.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// Its mesh.
    pub mesh: String,
    /// Its name.
    pub name: String,
    /// Its workload, which names its service and its identity.
    pub workload: String,
    /// Protocol of its inbound.
    pub protocol: &'static str,
    /// Port of the workload behind its inbound; `None` for a client without inbound.
    pub workload_port: Option<u16>,
    /// What it calls.
    pub outbounds: Vec<Outbound>,
}

impl ProxySettings {
    /// A service in front of a workload.
    pub fn service(mesh: &str, name: &str, workload: &str, workload_port: u16) -> Self {
        Self {
            mesh: mesh.to_owned(),
            name: name.to_owned(),
            workload: workload.to_owned(),
            protocol: "http",
            workload_port: Some(workload_port),
            outbounds: Vec::new(),
        }
    }
}

/// A running dataplane.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    name: String,
    inbound_port: u16,
    outbound_ports: Vec<u16>,
    readiness_port: u16,
    admin_socket: PathBuf,
    http: reqwest::Client,
}

impl Proxy {
    /// Starts an agent with its Envoy and waits until Envoy has its configuration.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub async fn start(sandbox: &Sandbox, control_plane: &ControlPlane, settings: &ProxySettings) -> Result<Self> {
        let mut proxy = Self::launch(sandbox, control_plane, settings).await?;
        proxy.ready().await?;
        Ok(proxy)
    }

    /// Starts an agent without waiting.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn launch(sandbox: &Sandbox, control_plane: &ControlPlane, settings: &ProxySettings) -> Result<Self> {
        let [inbound_port, readiness_port] = free_ports()?;
        let outbound_ports = settings.outbounds.iter().map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        let work_dir = sandbox.dir().join(&settings.name);
        std::fs::create_dir_all(&work_dir).context("could not make a work directory")?;
        let resource = dataplane(settings, inbound_port, &outbound_ports);
        let resource_file = work_dir.join("dataplane.json");
        std::fs::write(&resource_file, resource.to_string()).context("could not write a dataplane")?;
        let token = control_plane.dataplane_token(&settings.mesh, &settings.name, &settings.workload).await?;
        let token_file = work_dir.join("token");
        std::fs::write(&token_file, token).context("could not write a token")?;
        let arguments = [
            "run".to_owned(),
            format!("--cp-address={}", control_plane.dp_server()),
            format!("--ca-cert-file={}", control_plane.ca_file().display()),
            format!("--dataplane-token-file={}", token_file.display()),
            format!("--dataplane-file={}", resource_file.display()),
            format!("--work-dir={}", work_dir.display()),
            format!("--binary-path={}", sandbox.envoy().display()),
            "--concurrency=1".to_owned(),
            "--dns-enabled=false".to_owned(),
            "--drain-time=1s".to_owned(),
        ];
        let variables = [
            ("KUMA_READINESS_PORT", readiness_port.to_string()),
            ("KUMA_CONTROL_PLANE_RETRY_BACKOFF", "200ms".to_owned()),
        ];
        let log = sandbox.dir().join(format!("{}.log", settings.name));
        let process = Process::start(&settings.name, &sandbox.bin("kuma-dp"), &arguments, &variables, log)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER_LIMIT)
            .build()
            .context("could not make an HTTP client")?;
        let admin_socket = work_dir.join("kuma-envoy-admin.sock");
        let name = settings.name.clone();
        Ok(Self { process, name, inbound_port, outbound_ports, readiness_port, admin_socket, http })
    }

    /// Waits until Envoy says that it is ready.
    ///
    /// # Errors
    /// When it does not; with the end of its log.
    pub async fn ready(&mut self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/ready", self.readiness_port);
        let http = self.http.clone();
        let is_ready = async || http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
        self.process.wait_until("being ready", READY_LIMIT, is_ready).await
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process of the agent.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The port of its inbound, which is the port of its service.
    pub fn inbound_port(&self) -> u16 {
        self.inbound_port
    }

    /// The port of an outbound, by its place in the settings.
    pub fn outbound_port(&self, at: usize) -> Option<u16> {
        self.outbound_ports.get(at).copied()
    }

    /// Calls its first outbound: status and body.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn call(&self, path: &str) -> Result<(u16, String)> {
        let port = self.outbound_port(0).context("the proxy has no outbound")?;
        let answer = self.http.get(format!("http://127.0.0.1:{port}{path}")).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await?))
    }

    /// The text of a path of Envoy's admin interface.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn admin(&self, path: &str) -> Result<String> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER_LIMIT)
            .unix_socket(self.admin_socket.as_path())
            .build()
            .context("could not make an HTTP client")?;
        Ok(http.get(format!("http://localhost{path}")).send().await?.text().await?)
    }

    /// Calls the first outbound until the answer is as expected.
    ///
    /// # Errors
    /// When it is not within `limit`; with the last answer.
    pub async fn call_until(&self, limit: Duration, expected: impl Fn(u16, &str) -> bool) -> Result<(u16, String)> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut calls = tokio::time::interval(Duration::from_millis(2));
        calls.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            calls.tick().await;
            let answer = self.call("/").await;
            match answer {
                Ok((status, body)) if expected(status, &body) => return Ok((status, body)),
                last if tokio::time::Instant::now() > deadline => {
                    bail!("{} still gets, after {limit:?}: {last:?}", self.name)
                }
                _ => {}
            }
        }
    }
}

fn dataplane(settings: &ProxySettings, inbound_port: u16, outbound_ports: &[u16]) -> Value {
    let inbound: Vec<_> = settings
        .workload_port
        .map(|port| json!({"port": inbound_port, "servicePort": port, "protocol": settings.protocol}))
        .into_iter()
        .collect();
    let outbound: Vec<_> = settings
        .outbounds
        .iter()
        .zip(outbound_ports)
        .map(|(to, port)| json!({"port": port, "backendRef": {"kind": to.kind, "name": to.name, "port": to.port}}))
        .collect();
    json!({
        "type": "Dataplane",
        "mesh": settings.mesh,
        "name": settings.name,
        "labels": {"kuma.io/workload": settings.workload},
        "networking": {"address": "127.0.0.1", "inbound": inbound, "outbound": outbound},
    })
}

/// Calls a path on a port of loopback with a connection of its own: status and body.
///
/// # Errors
/// When nobody answers.
pub async fn call(port: u16, path: &str) -> Result<(u16, String)> {
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?;
    let answer = http.get(format!("http://127.0.0.1:{port}{path}")).send().await?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await?))
}
