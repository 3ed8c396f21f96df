//! The command line, as Kuma's.

use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::Settings;
use super::env::parse_bool;
use crate::go_duration;

/// kuma-dp: runs a data plane proxy beside a workload.
#[derive(Debug, Parser)]
#[command(name = "kuma-dp", about = "Universal control plane for Envoy-based service meshes: the data plane agent")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the log looks like.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogFlags {
    /// log level: one of off|info|debug
    #[arg(long, global = true, default_value = "info")]
    pub(crate) log_level: String,
    /// path to the file that will be filled with logs; standard error when empty
    #[arg(long, global = true, default_value = "")]
    pub(crate) log_output_path: String,
    /// maximum number of the old log files to retain
    #[arg(long, global = true, default_value_t = 1000)]
    pub(crate) log_max_retained_files: usize,
    /// maximum size in megabytes of a log file before it gets rotated
    #[arg(long, global = true, default_value_t = 100)]
    pub(crate) log_max_size: u64,
    /// maximum number of days to retain old log files
    #[arg(long, global = true, default_value_t = 30)]
    pub(crate) log_max_age: u32,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Launch the data plane proxy (Envoy)
    Run(Box<RunFlags>),
    /// Print version
    Version {
        /// Print detailed version
        #[arg(short = 'a', long)]
        detailed: bool,
    },
    /// Waits for the data plane proxy (Envoy) to be ready
    Wait(WaitFlags),
    /// Becomes Envoy, after binding its life to that of its parent
    #[command(hide = true)]
    ExecEnvoy {
        /// The process that must be the parent
        parent: i32,
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

/// `kuma-dp wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitFlags {
    /// URL at which Envoy is exposing its readiness; the host must be a loopback address
    #[arg(long, default_value = "http://localhost:9901/ready")]
    pub(crate) url: String,
    /// Unix socket of Envoy's admin interface; the URL is ignored when it is set
    #[arg(long, default_value = "")]
    pub(crate) unix_socket: String,
    /// how long to wait for the proxy
    #[arg(long, default_value = "180s", value_parser = go_duration::parse)]
    pub(crate) timeout: Duration,
    /// how often to ask
    #[arg(long, default_value = "1s", value_parser = go_duration::parse)]
    pub(crate) check_frequency: Duration,
    /// how long one answer may take
    #[arg(long, default_value = "500ms", value_parser = go_duration::parse)]
    pub(crate) request_timeout: Duration,
}

fn switch(text: &str) -> Result<bool, String> {
    parse_bool(text).ok_or_else(|| format!("expected true or false, got {text:?}"))
}

macro_rules! run_flags {
    ($( $(#[$attribute:meta])* $name:ident : $ty:ty ),* $(,)?) => {
        /// `kuma-dp run`; what is not given keeps its default.
        #[derive(Clone, Debug, Default, Args)]
        pub(crate) struct RunFlags { $( $(#[$attribute])* pub(crate) $name: $ty ),* }
    };
}

run_flags! {
    /// URL of the Control Plane Dataplane Server, as https://localhost:5678
    #[arg(long)] cp_address: Option<String>,
    /// Path to the CA certificate by which the connection to the Control Plane is verified
    #[arg(long)] ca_cert_file: Option<String>,
    /// Do not verify the certificate of the Control Plane (for development only)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    skip_verify: Option<bool>,
    /// Mesh that the Dataplane belongs to
    #[arg(long)] mesh: Option<String>,
    /// Name of the Dataplane
    #[arg(long)] name: Option<String>,
    /// Type of the Dataplane; only "dataplane"
    #[arg(long)] proxy_type: Option<String>,
    /// How long connections are drained at shutdown
    #[arg(long, value_parser = go_duration::parse)] drain_time: Option<Duration>,
    /// Binary path of the Envoy executable
    #[arg(long)] binary_path: Option<String>,
    /// Directory in which Envoy's configuration and sockets are stored
    #[arg(long)] work_dir: Option<String>,
    /// Number of Envoy worker threads
    #[arg(long)] concurrency: Option<u32>,
    /// Path to a file with the dataplane token
    #[arg(long)] dataplane_token_file: Option<String>,
    /// Dataplane token
    #[arg(long)] dataplane_token: Option<String>,
    /// Dataplane template to apply (YAML or JSON)
    #[arg(long)] dataplane: Option<String>,
    /// Path to a Dataplane template to apply (YAML or JSON); - for standard input
    #[arg(short = 'd', long)] dataplane_file: Option<String>,
    /// Variables to replace in the Dataplane template, as k=v
    #[arg(short = 'v', long, action = ArgAction::Append)] dataplane_var: Vec<String>,
    /// Envoy's log level
    #[arg(long)] envoy_log_level: Option<String>,
    /// Envoy's log levels by component
    #[arg(long)] envoy_component_log_level: Option<String>,
    /// Path to the certificate of the metrics listener
    #[arg(long)] metrics_cert_path: Option<String>,
    /// Path to the key of the metrics listener
    #[arg(long)] metrics_key_path: Option<String>,
    /// Bind outbound listeners to their addresses instead of relying on redirection
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    bind_outbounds: Option<bool>,
    /// Whether the embedded DNS server runs
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    dns_enabled: Option<bool>,
    /// Port of the embedded DNS server
    #[arg(long)] dns_proxy_port: Option<u32>,
    /// The proxy runs with transparent proxying, with its default settings
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    transparent_proxy: Option<bool>,
    /// Files with transparent proxy settings, later ones over earlier ones; - for standard input
    #[arg(long, action = ArgAction::Append)] transparent_proxy_config: Vec<String>,
}

impl RunFlags {
    /// Lays the flags over the settings.
    ///
    /// # Errors
    /// A `--dataplane-var` that is not `k=v`.
    pub(crate) fn apply(self, settings: &mut Settings) -> anyhow::Result<()> {
        fn set<T>(field: &mut T, flag: Option<T>) {
            if let Some(value) = flag {
                *field = value;
            }
        }
        let (cp, dp, runtime) = (&mut settings.control_plane, &mut settings.dataplane, &mut settings.dataplane_runtime);
        set(&mut cp.url, self.cp_address);
        set(&mut cp.ca_cert_file, self.ca_cert_file);
        set(&mut cp.tls_skip_verify, self.skip_verify);
        set(&mut dp.mesh, self.mesh);
        set(&mut dp.name, self.name);
        set(&mut dp.proxy_type, self.proxy_type);
        set(&mut dp.drain_time, self.drain_time);
        set(&mut runtime.binary_path, self.binary_path);
        set(&mut runtime.work_dir, self.work_dir);
        set(&mut runtime.concurrency, self.concurrency);
        set(&mut runtime.dataplane_token_path, self.dataplane_token_file);
        set(&mut runtime.dataplane_token, self.dataplane_token);
        set(&mut runtime.resource, self.dataplane);
        set(&mut runtime.resource_path, self.dataplane_file);
        set(&mut runtime.envoy_log_level, self.envoy_log_level);
        set(&mut runtime.envoy_component_log_level, self.envoy_component_log_level);
        set(&mut runtime.metrics_cert_path, self.metrics_cert_path);
        set(&mut runtime.metrics_key_path, self.metrics_key_path);
        set(&mut runtime.bind_outbounds, self.bind_outbounds);
        set(&mut settings.dns.enabled, self.dns_enabled);
        set(&mut settings.dns.proxy_port, self.dns_proxy_port);
        for pair in self.dataplane_var.iter().flat_map(|text| split_pairs(text)) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| anyhow::anyhow!("--dataplane-var: expected key=value, got {pair:?}"))?;
            runtime.resource_vars.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }
}

/// Splits `a=1,b=2` at commas; a value with commas is quoted as in CSV: `"a=1,2",b=3`.
fn split_pairs(text: &str) -> Vec<String> {
    let mut pairs = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match (c, pairs.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => pairs.push(String::new()),
            (c, Some(pair)) => pair.push(c),
            (_, None) => {}
        }
    }
    pairs.retain(|pair| !pair.is_empty());
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(arguments: &[&str]) -> Settings {
        let cli = Cli::try_parse_from(["kuma-dp", "run"].iter().chain(arguments)).unwrap();
        let Command::Run(flags) = cli.command else { panic!("not run") };
        let mut settings = Settings::default();
        flags.apply(&mut settings).unwrap();
        settings
    }

    #[test]
    fn flags_of_kuma_are_understood() {
        let settings = settings_of(&[
            "--cp-address=https://cp:5678",
            "-d",
            "dp.yaml",
            "-v",
            "name=web,address=10.0.0.1",
            "-v",
            "\"tags=a,b\"",
            "--dns-enabled=false",
            "--drain-time",
            "5s",
            "--log-level",
            "debug",
        ]);
        assert_eq!(settings.control_plane.url, "https://cp:5678");
        assert_eq!(settings.dataplane_runtime.resource_path, "dp.yaml");
        assert_eq!(settings.dataplane_runtime.resource_vars["address"], "10.0.0.1");
        assert_eq!(settings.dataplane_runtime.resource_vars["tags"], "a,b");
        assert!(!settings.dns.enabled);
        assert_eq!(settings.dataplane.drain_time, Duration::from_secs(5));
    }
}
