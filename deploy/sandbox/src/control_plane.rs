//! A control plane of the sandbox, with its own ports and data.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Sandbox;
use crate::ports::free_ports;
use crate::process::Process;

/// How long a control plane may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How long an answer may take: one that is paused never answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What a control plane is started with.
#[derive(Clone, Debug, Default)]
pub struct ControlPlaneSettings {
    /// Further variables, over those of the sandbox.
    pub variables: Vec<(&'static str, String)>,
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    process: Process,
    command: Vec<OsString>,
    variables: Vec<(&'static str, String)>,
    log: PathBuf,
    work_dir: PathBuf,
    api_port: u16,
    dp_port: u16,
    /// The port that agents are told.
    told_port: u16,
    diagnostics_port: u16,
    http: reqwest::Client,
}

impl ControlPlane {
    /// Starts a control plane under a name and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its log.
    pub async fn start(sandbox: &Sandbox, name: &str, settings: ControlPlaneSettings) -> Result<Self> {
        let mut control_plane = Self::launch(sandbox, name, settings, &[])?;
        control_plane.ready(READY_LIMIT).await?;
        control_plane.until("/meshes/default", READY_LIMIT, |_| true).await?;
        Ok(control_plane)
    }

    /// Starts a control plane without waiting; `by` is a program with its arguments that starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(sandbox: &Sandbox, name: &str, settings: ControlPlaneSettings, by: &[&str]) -> Result<Self> {
        let [api_port, api_tls_port, dp_port, diagnostics_port, mads_port, inter_cp_port] = free_ports()?;
        let work_dir = sandbox.dir().join(name);
        let mut variables: Vec<(&'static str, String)> = vec![
            ("KUMA_GENERAL_WORK_DIR", work_dir.display().to_string()),
            ("KUMA_STORE_RAFT_DATA_DIR", work_dir.join("data").display().to_string()),
            ("KUMA_API_SERVER_HTTP_PORT", api_port.to_string()),
            ("KUMA_API_SERVER_HTTP_INTERFACE", "127.0.0.1".to_owned()),
            ("KUMA_API_SERVER_HTTPS_PORT", api_tls_port.to_string()),
            ("KUMA_API_SERVER_HTTPS_INTERFACE", "127.0.0.1".to_owned()),
            ("KUMA_DP_SERVER_PORT", dp_port.to_string()),
            ("KUMA_DIAGNOSTICS_SERVER_PORT", diagnostics_port.to_string()),
            ("KUMA_MONITORING_ASSIGNMENT_SERVER_PORT", mads_port.to_string()),
            ("KUMA_INTER_CP_SERVER_PORT", inter_cp_port.to_string()),
        ];
        variables.extend(settings.variables);
        let (own, log) = (sandbox.bin("kuma-cp"), sandbox.dir().join(format!("{name}.log")));
        let command: Vec<_> = by.iter().map(OsString::from).chain([own.into(), OsString::from("run")]).collect();
        let process = Process::start(name, Path::new(&command[0]), &command[1..], &variables, log.clone())?;
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build();
        let http = http.context("could not make an HTTP client")?;
        Ok(Self {
            process,
            command,
            variables,
            log,
            work_dir,
            api_port,
            dp_port,
            told_port: dp_port,
            diagnostics_port,
            http,
        })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready within `limit`; with the end of its log.
    pub async fn ready(&mut self, limit: Duration) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/ready", self.diagnostics_port);
        let http = self.http.clone();
        let is_ready = async || http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
        self.process.wait_until("being ready", limit, is_ready).await
    }

    /// Starts the control plane again on its ports and data.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_again(&mut self) -> Result<()> {
        self.launch_again()?;
        self.ready(READY_LIMIT).await
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch_again(&mut self) -> Result<()> {
        let (program, arguments) = (Path::new(&self.command[0]), &self.command[1..]);
        self.process = Process::start("kuma-cp", program, arguments, &self.variables, self.log.clone())?;
        Ok(())
    }

    /// The port on which it listens for agents.
    pub fn dp_port(&self) -> u16 {
        self.dp_port
    }

    /// The ports of loopback on which it is asked: by clients, by agents, and how it does.
    pub fn asked_ports(&self) -> [u16; 3] {
        [self.api_port, self.dp_port, self.diagnostics_port]
    }

    /// Agents that are started from now on connect to this port, behind which it is found.
    pub fn behind(&mut self, dp_port: u16) {
        self.told_port = dp_port;
    }

    /// Its folder: certificates, and the store in `data`.
    pub fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The base URL of the API.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    /// The base URL that agents connect to.
    pub fn dp_server(&self) -> String {
        format!("https://localhost:{}", self.told_port)
    }

    /// The URL of the metrics.
    pub fn metrics(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.diagnostics_port)
    }

    /// The sum of a metric's samples with this label, written as `name="value"`.
    ///
    /// # Errors
    /// When the metrics cannot be read.
    pub async fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let text = self.scrape().await?;
        let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        Ok(samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .fold(0.0, |sum, sample| sum + sample))
    }

    /// The metrics as they are scraped.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn scrape(&self) -> Result<String> {
        let answer = self.http.get(self.metrics()).send().await.context("could not reach the metrics")?;
        answer.text().await.context("could not read the metrics")
    }

    /// The certificate that agents trust.
    pub fn ca_file(&self) -> PathBuf {
        self.work_dir.join("kuma-cp.crt")
    }

    /// The JSON of a path of the API.
    ///
    /// # Errors
    /// When it answers with an error.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.api())).send().await.context("could not reach the API")?;
        let status = answer.status();
        let body = answer.text().await.context("could not read an answer")?;
        if !status.is_success() {
            bail!("GET {path} answered {status}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("{path} answered something else than JSON: {body}"))
    }

    /// Asks for something to be done, with JSON; the JSON of the answer.
    ///
    /// # Errors
    /// When it answers with an error.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.http.post(format!("{}{path}", self.api())).json(body);
        let answer = request.send().await.context("could not reach the API")?;
        let (status, body) = (answer.status(), answer.text().await.context("could not read an answer")?);
        if !status.is_success() {
            bail!("POST {path} answered {status}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("{path} answered something else than JSON: {body}"))
    }

    /// Writes a resource; its `type`, `mesh` and `name` say where.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn apply(&self, resource: &Value) -> Result<()> {
        self.write(resource).await.map(drop)
    }

    /// Creates or replaces a resource; the revision of that.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn write(&self, resource: &Value) -> Result<String> {
        let path = path_of(resource)?;
        let request = self.http.put(format!("{}{path}", self.api())).json(resource);
        let answer = request.send().await.context("could not reach the API")?;
        let status = answer.status();
        if !status.is_success() {
            bail!("PUT {path} answered {status}: {}", answer.text().await.unwrap_or_default());
        }
        let revision = answer.headers().get("kuma-revision").context("the answer tells no revision")?;
        Ok(revision.to_str()?.to_owned())
    }

    /// Deletes the resource at a path.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let answer =
            self.http.delete(format!("{}{path}", self.api())).send().await.context("could not reach the API")?;
        let status = answer.status();
        if !status.is_success() {
            bail!("DELETE {path} answered {status}: {}", answer.text().await.unwrap_or_default());
        }
        Ok(())
    }

    /// A token for a dataplane of a workload.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn dataplane_token(&self, mesh: &str, name: &str, workload: &str) -> Result<String> {
        let body = serde_json::json!({"mesh": mesh, "name": name, "workload": workload, "validFor": "24h"});
        let request = self.http.post(format!("{}/tokens/dataplane", self.api())).json(&body);
        let answer = request.send().await.context("could not reach the API")?;
        let status = answer.status();
        let text = answer.text().await.context("could not read a token")?;
        if !status.is_success() {
            bail!("a token was refused with {status}: {text}");
        }
        Ok(text)
    }

    /// Waits until the JSON of a path is as `expected`.
    ///
    /// # Errors
    /// When it is not within `limit`; with what it was last.
    pub async fn until(&self, path: &str, limit: Duration, expected: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let found = self.get(path).await;
            match found {
                Ok(value) if expected(&value) => return Ok(value),
                last if tokio::time::Instant::now() > deadline => bail!("{path} is, after {limit:?}: {last:?}"),
                _ => {}
            }
        }
    }
}

/// The path of a resource in the API.
fn path_of(resource: &Value) -> Result<String> {
    let text = |field: &str| resource.get(field).and_then(Value::as_str);
    let ty = text("type").context("a resource without type")?;
    let name = text("name").context("a resource without name")?;
    let kind = model::registry::by_name(ty).with_context(|| format!("{ty} is no type"))?;
    Ok(match kind.scope {
        model::Scope::Global => format!("/{}/{name}", kind.path),
        model::Scope::Mesh => format!("/meshes/{}/{}/{name}", text("mesh").unwrap_or("default"), kind.path),
    })
}
