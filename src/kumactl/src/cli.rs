//! The command line, as Kuma's.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use model::kinds::duration::GoDuration;

/// kumactl: the management tool of a control plane.
#[derive(Debug, Parser)]
#[command(name = "kumactl", about = "Management tool for Kuma", disable_version_flag = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct GlobalFlags {
    /// path to the configuration file to use
    #[arg(long, global = true, default_value = "")]
    pub(crate) config_file: String,
    /// name of the control plane to use
    #[arg(long, global = true, default_value = "")]
    pub(crate) context: String,
    /// log level: one of off|info|debug
    #[arg(long, global = true, default_value = "off")]
    pub(crate) log_level: String,
    /// if set no config file and config directory will be created
    #[arg(long, global = true)]
    pub(crate) no_config: bool,
    /// the timeout for api calls. It includes connection time, any redirects, and reading of the response body; 0 is none
    #[arg(long, global = true, default_value = "1m0s", value_parser = duration)]
    pub(crate) api_timeout: Duration,
    /// the time from which ages are counted, for output that can be compared; without it the clock's
    #[arg(long, global = true, hide = true)]
    pub(crate) now: Option<Timestamp>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create or modify Kuma resources
    Apply(ApplyFlags),
    /// Manage kumactl config
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Delete Kuma resources
    Delete(DeleteFlags),
    /// Export Kuma resources
    Export(ExportFlags),
    /// Generate resources, tokens, etc
    Generate {
        #[command(subcommand)]
        command: GenerateCommand,
    },
    /// Show Kuma resources
    #[command(arg_required_else_help = true, after_help = types())]
    Get(GetFlags),
    /// Inspect Kuma resources
    #[command(arg_required_else_help = true)]
    Inspect(InspectFlags),
    /// Manage the replicas of the control plane
    Raft {
        #[command(subcommand)]
        command: RaftCommand,
    },
    /// Save all resources
    Backup {
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// Show the state of the control plane
    Status,
    /// Print version
    Version {
        /// Print detailed version
        #[arg(short = 'a', long)]
        detailed: bool,
    },
    /// Wait until a change has reached every connected proxy that it concerns (exit code 2: one refused
    /// it; 3: the time is over)
    Wait(WaitFlags),
}

/// `raft`.
#[derive(Debug, Subcommand)]
pub(crate) enum RaftCommand {
    /// Show all replicas
    Status,
    /// Print the secret with which further replicas join
    JoinToken,
    /// Print how to start a further replica; it joins by itself, and votes while fewer than five do
    Add {
        /// where the others reach the new replica
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// file that the token is written to, for the machine of the new replica
        #[arg(long, default_value = "join-token")]
        token_file: PathBuf,
    },
    /// Replace the secret with which further replicas join
    RotateJoinToken,
    /// Give a replica that only follows a vote
    Promote {
        /// id of the replica
        id: u64,
    },
    /// Remove a replica for ever
    Remove {
        /// id of the replica
        id: u64,
    },
    /// Let another replica lead
    Handover {
        /// id of the replica
        id: u64,
    },
    /// Seal secrets with a new key
    RotateKey,
    /// Replace the authority by which replicas know each other, and the secret with which further ones join
    ///
    /// Whoever holds the former ones, as on a stolen disk, is no replica any more. The group goes on meanwhile;
    /// every replica must be reachable. One that was cut short is gone on with by the same command.
    RotateAuthority,
}

/// `backup`.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Write everything to a file; secrets in it are sealed with the key of the control plane
    Create {
        /// path of the new file
        file: PathBuf,
    },
    /// Make all resources what they were when a backup was taken, while the control plane runs
    Restore {
        /// path of the backup
        file: PathBuf,
    },
}

/// `apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyFlags {
    /// Path to file or directory to apply. Pass `-` to read from stdin, or a URL
    #[arg(short = 'f', long)]
    pub(crate) file: String,
    /// Variable to replace in configuration
    #[arg(short = 'v', long = "var", action = ArgAction::Append)]
    pub(crate) vars: Vec<String>,
    /// Resolve variables and print the resources without applying them
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteFlags {
    /// type of the resource
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// name of the resource
    pub(crate) name: String,
    /// mesh to use
    #[arg(short = 'm', long, default_value = "default")]
    pub(crate) mesh: String,
}

/// `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportFlags {
    /// what to export: federation, federation-with-policies, all or no-dataplanes
    #[arg(short = 'p', long, default_value = "federation")]
    pub(crate) profile: String,
    /// format of the output: universal or kubernetes
    #[arg(short = 'f', long, default_value = "universal")]
    pub(crate) format: String,
    /// namespace of the control plane; only its resources are exported in the kubernetes format
    #[arg(short = 'n', long, default_value = "kuma-system")]
    pub(crate) system_namespace: String,
    /// also export resources that only administrators may read
    #[arg(short = 'a', long)]
    pub(crate) include_admin: bool,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// `get`.
#[derive(Debug, Args)]
pub(crate) struct GetFlags {
    /// type of the resource, in the singular with a name, in the plural for a list
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// name of the resource
    pub(crate) name: Option<String>,
    /// output format
    #[arg(short = 'o', long, default_value = "table")]
    pub(crate) output: Format,
    /// mesh to use
    #[arg(short = 'm', long, default_value = "default")]
    pub(crate) mesh: String,
    /// maximum number of elements to return; 0 is the server's default
    #[arg(long, default_value_t = 0)]
    pub(crate) size: usize,
    /// the offset that indicates starting element of the resources list to retrieve
    #[arg(long, default_value = "")]
    pub(crate) offset: String,
}

/// `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectFlags {
    /// dataplanes, dataplane, zones, meshes, or the type of a policy
    pub(crate) what: String,
    /// name of the dataplane or policy
    pub(crate) name: Option<String>,
    /// output format
    #[arg(short = 'o', long, default_value = "table")]
    pub(crate) output: Format,
    /// mesh to use
    #[arg(short = 'm', long, default_value = "default")]
    pub(crate) mesh: String,
    /// what of a dataplane: policies, config-dump, stats, clusters, config or faults; of a policy: faults
    #[arg(long = "type", default_value = "policies")]
    pub(crate) inspection: String,
    /// add endpoints to the config dump
    #[arg(long)]
    pub(crate) include_eds: bool,
    /// show the configuration with shadow policies
    #[arg(long)]
    pub(crate) shadow: bool,
    /// what to add to the configuration, as diff
    #[arg(long, value_delimiter = ',')]
    pub(crate) include: Vec<String>,
    /// only dataplanes with this tag, as key=value
    #[arg(long, action = ArgAction::Append)]
    pub(crate) tag: Vec<String>,
    /// only gateways
    #[arg(long)]
    pub(crate) gateway: bool,
    /// only ingresses
    #[arg(long)]
    pub(crate) ingress: bool,
    /// use the list of resources instead of the older answer
    #[arg(long)]
    pub(crate) new_api: bool,
}

/// `wait`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["revision", "file"]))]
pub(crate) struct WaitFlags {
    /// the revision that a write was answered with
    #[arg(long)]
    pub(crate) revision: Option<u64>,
    /// wait for the newest revision of the resources in this file
    #[arg(short = 'f', long)]
    pub(crate) file: Option<String>,
    /// how long to wait
    #[arg(long, default_value = "1m0s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Manage known Control Planes
    ControlPlanes {
        #[command(subcommand)]
        command: ControlPlanesCommand,
    },
    /// Show kumactl config
    View,
}

/// `config control-planes`.
#[derive(Debug, Subcommand)]
pub(crate) enum ControlPlanesCommand {
    /// Add a Control Plane
    Add(Box<AddFlags>),
    /// List known Control Planes
    List,
    /// Remove a Control Plane
    Remove {
        /// reference name for the Control Plane
        #[arg(long)]
        name: String,
    },
    /// Switch active Control Plane
    Switch {
        /// reference name for the Control Plane
        #[arg(long)]
        name: String,
    },
}

/// `config control-planes add`.
#[derive(Debug, Args)]
pub(crate) struct AddFlags {
    /// reference name for the Control Plane
    #[arg(long)]
    pub(crate) name: String,
    /// URL of the Control Plane API Server
    #[arg(long)]
    pub(crate) address: String,
    /// overwrite existing Control Plane with the same reference name
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// path to the client certificate
    #[arg(long, default_value = "")]
    pub(crate) client_cert_file: String,
    /// path to the client key
    #[arg(long, default_value = "")]
    pub(crate) client_key_file: String,
    /// path to the certificate authority which is used to verify the Control Plane
    #[arg(long, default_value = "")]
    pub(crate) ca_cert_file: String,
    /// skip CP verification
    #[arg(long)]
    pub(crate) skip_verify: bool,
    /// add these headers to every request, as key=value
    #[arg(long, action = ArgAction::Append)]
    pub(crate) headers: Vec<String>,
    /// authentication type, as tokens
    #[arg(long, default_value = "")]
    pub(crate) auth_type: String,
    /// authentication configuration, as token=YOUR_TOKEN
    #[arg(long, action = ArgAction::Append)]
    pub(crate) auth_conf: Vec<String>,
    /// skip the check that the Control Plane can be reached
    #[arg(long)]
    pub(crate) skip_check: bool,
}

/// How a token is signed without a control plane.
#[derive(Clone, Debug, Args)]
pub(crate) struct OfflineFlags {
    /// path to a file that contains a private signing key; the token is then issued offline
    #[arg(long, default_value = "")]
    pub(crate) signing_key_path: String,
    /// ID of the key that is used to issue the token; required with --signing-key-path
    #[arg(long, default_value = "")]
    pub(crate) kid: String,
}

/// `generate`.
#[derive(Debug, Subcommand)]
pub(crate) enum GenerateCommand {
    /// Generate Dataplane Token
    DataplaneToken {
        /// how long the token will be valid (for example "24h")
        #[arg(long, value_parser = duration)]
        valid_for: Duration,
        /// name of the Dataplane
        #[arg(long, default_value = "")]
        name: String,
        /// mesh to use
        #[arg(short = 'm', long, default_value = "default")]
        mesh: String,
        /// required tag values for the dataplane, as key=value1,value2
        #[arg(long, action = ArgAction::Append)]
        tag: Vec<String>,
        /// type of the Dataplane ("dataplane")
        #[arg(long, default_value = "")]
        proxy_type: String,
        /// name of the workload
        #[arg(long, default_value = "")]
        workload: String,
        #[command(flatten)]
        offline: OfflineFlags,
    },
    /// Generate Zone Token
    ZoneToken {
        /// name of the zone
        #[arg(long)]
        zone: String,
        /// how long the token will be valid (for example "24h")
        #[arg(long, value_parser = duration)]
        valid_for: Duration,
        /// scope of resources which the token is bound to
        #[arg(long, value_delimiter = ',')]
        scope: Vec<String>,
        #[command(flatten)]
        offline: OfflineFlags,
    },
    /// Generate User Token
    UserToken {
        /// name of the user
        #[arg(long)]
        name: String,
        /// how long the token will be valid (for example "24h")
        #[arg(long, value_parser = duration)]
        valid_for: Duration,
        /// group of the user
        #[arg(long, value_delimiter = ',')]
        group: Vec<String>,
        #[command(flatten)]
        offline: OfflineFlags,
    },
    /// Generate signing keys
    SigningKey {
        /// format of the key: pem or pem-base64
        #[arg(long, default_value = "pem-base64")]
        format: String,
    },
    /// Generate public key out of a signing key
    PublicKey {
        /// path to a file that contains a private signing key
        #[arg(long)]
        signing_key_path: PathBuf,
    },
    /// Generate a self-signed TLS certificate
    TlsCertificate {
        /// kind of certificate: server or client
        #[arg(long = "type")]
        kind: String,
        /// DNS hostnames or IP addresses to issue the certificate for
        #[arg(long, value_delimiter = ',')]
        hostname: Vec<String>,
        /// type of the private key: rsa or ecdsa
        #[arg(long, default_value = "rsa")]
        key_type: String,
        /// path to a file with the generated private key; - is standard output
        #[arg(long, default_value = "key.pem")]
        key_file: String,
        /// path to a file with the generated certificate; - is standard output
        #[arg(long, default_value = "cert.pem")]
        cert_file: String,
    },
}

/// The types, for the help of `get`.
fn types() -> String {
    let mut text = "Types (with a name | without):\n".to_owned();
    for kind in crate::resources::named() {
        text.push_str(&format!("  {} | {}\n", kind.kumactl_arg, kind.kumactl_list_arg));
    }
    text
}

/// A duration in Go's spelling that is not negative.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: GoDuration = text.parse().map_err(|error: model::kinds::duration::BadDuration| error.to_string())?;
    if parsed.is_negative() { Err("must not be negative".to_owned()) } else { Ok(parsed.to_std()) }
}
