//! The settings that the parts of the control plane take.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use identity::token::PublicKeyEntry;
use identity::{AccessRules, Allowed, RsaPublicKey};
use model::labels::Site;

use super::SettingsError;
use super::tree::Tree;
use crate::timed_stream::Patience;

/// Everything, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The whole configuration, for dumps.
    pub(crate) tree: Tree,
    /// Which control plane this is.
    pub(crate) mode: Mode,
    /// Where proxies run: pods or not.
    pub(crate) kubernetes: bool,
    /// Where generated certificates and the data of the store are kept.
    pub(crate) work_dir: PathBuf,
    /// Where resources are kept.
    pub(crate) store: StoreSettings,
    /// Certificate of all servers that have none of their own.
    pub(crate) general_tls: Option<TlsSettings>,
    /// The REST API.
    pub(crate) api: ApiSettings,
    /// The server of proxies.
    pub(crate) dp_server: DpServerSettings,
    /// Health and metrics.
    pub(crate) diagnostics: DiagnosticsSettings,
    /// Discovery for Prometheus, when it is enabled.
    pub(crate) mads: Option<MadsSettings>,
    /// `access.static`.
    pub(crate) access: AccessRules,
    /// `defaults.skipMeshCreation`.
    pub(crate) skip_mesh_creation: bool,
    /// `defaults.skipTenantResources`.
    pub(crate) skip_tenant_resources: bool,
    /// `defaults.skipHostnameGenerators`.
    pub(crate) skip_hostname_generators: bool,
}

/// Which control plane this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Over zones.
    Global,
    /// Of a zone.
    Zone {
        /// Its name.
        name: String,
        /// The global control plane, when there is one.
        global_address: Option<String>,
    },
}

/// Where resources are kept.
#[allow(clippy::large_enum_variant, reason = "there is one in a process")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreSettings {
    /// In this process; gone with it.
    Memory,
    /// On disk, replicated.
    Raft {
        /// Directory of log and snapshots.
        data_dir: PathBuf,
        /// File of the keys that seal secrets; in the directory when not given.
        key_file: Option<PathBuf>,
        /// Where other replicas reach this one; it stays alone when there is none.
        listen: Option<SocketAddr>,
        /// `host:port` that the others use, when it differs.
        advertise: Option<String>,
        /// Replicas of the group that a new directory joins.
        join: Vec<String>,
        /// File with the token of that group.
        join_token_file: Option<PathBuf>,
        /// Replicas that found a group together, the same list for all.
        peers: Vec<String>,
        /// File with what only they know.
        secret_file: Option<PathBuf>,
        /// Whether proxies are sent to replicas that have fewer.
        spread_proxies: bool,
        /// How often the leader shows that it lives.
        heartbeat: Duration,
        /// How long followers wait for it at least.
        election_timeout: Duration,
        /// How long a write waits for a majority.
        commit_timeout: Duration,
        /// A snapshot is taken after so many log entries.
        snapshot_after_entries: u64,
        /// How many entries before it are kept for replicas that are a little behind.
        entries_kept: u64,
    },
}

impl StoreSettings {
    /// Whether proxies are sent to replicas that have fewer.
    pub(crate) fn spreads_proxies(&self) -> bool {
        matches!(self, Self::Raft { spread_proxies: true, .. })
    }
}

/// Files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// Certificate chain, PEM.
    pub(crate) certificate: PathBuf,
    /// Private key, PEM.
    pub(crate) key: PathBuf,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Address of the interface.
    pub(crate) interface: IpAddr,
    /// Port.
    pub(crate) port: u16,
    /// The key of the port, for messages.
    pub(crate) port_key: &'static str,
}

/// The REST API.
#[derive(Clone, Debug)]
pub(crate) struct ApiSettings {
    /// Plain listener.
    pub(crate) http: Option<Listener>,
    /// TLS listener.
    pub(crate) https: Option<Listener>,
    /// Its certificate, when it has one of its own.
    pub(crate) tls: Option<TlsSettings>,
    /// Public keys of user tokens.
    pub(crate) user_token_keys: Vec<PublicKeyEntry>,
    /// CAs of clients, when clients must show a certificate.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// `apiServer.authn.tokens.bootstrapAdminToken`.
    pub(crate) bootstrap_admin_token: bool,
    /// How long a client may take.
    pub(crate) patience: Patience,
}

/// The server of proxies.
#[derive(Clone, Debug)]
pub(crate) struct DpServerSettings {
    /// Where it listens, always with TLS.
    pub(crate) listener: Listener,
    /// Its certificate, when it has one of its own.
    pub(crate) tls: Option<TlsSettings>,
    /// `serviceAccountToken`, `dpToken` or `none`.
    pub(crate) authentication: String,
    /// Public keys of dataplane tokens.
    pub(crate) dataplane_token_keys: Vec<PublicKeyEntry>,
    /// How long a client may take to send its headers.
    pub(crate) read_header_timeout: Duration,
    /// How long open requests may take at the end.
    pub(crate) graceful_shutdown_timeout: Duration,
}

/// Health and metrics.
#[derive(Clone, Debug)]
pub(crate) struct DiagnosticsSettings {
    /// Where it listens.
    pub(crate) listener: Listener,
    /// Whether with TLS.
    pub(crate) tls_enabled: bool,
    /// Its certificate, when it has one of its own.
    pub(crate) tls: Option<TlsSettings>,
}

/// Discovery for Prometheus.
#[derive(Clone, Debug)]
pub(crate) struct MadsSettings {
    /// Where it listens.
    pub(crate) listener: Listener,
    /// Whether with TLS.
    pub(crate) tls_enabled: bool,
    /// Its certificate, when it has one of its own.
    pub(crate) tls: Option<TlsSettings>,
    /// How long a client waits for news that does not say.
    pub(crate) fetch_timeout: Duration,
    /// How often a client that waits looks at most.
    pub(crate) refresh_interval: Duration,
}

/// All interfaces, by both families where the machine has both. Envoy asks IPv6 first.
const ANY: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

impl Settings {
    /// Takes checked values out of a validated tree.
    ///
    /// # Errors
    /// What this build does not support, and keys that cannot be read.
    pub(super) fn from_tree(tree: Tree) -> Result<Self, SettingsError> {
        let work_dir = work_dir(&tree)?;
        Ok(Self {
            mode: mode(&tree),
            kubernetes: tree.text("environment") == "kubernetes",
            store: store(&tree, &work_dir)?,
            general_tls: tls(&tree, "general"),
            api: api(&tree)?,
            dp_server: dp_server(&tree)?,
            diagnostics: DiagnosticsSettings {
                listener: listener(&tree, ANY, "diagnostics.serverPort"),
                tls_enabled: tree.flag("diagnostics.tlsEnabled"),
                tls: tls(&tree, "diagnostics"),
            },
            mads: mads(&tree),
            access: access(&tree),
            skip_mesh_creation: tree.flag("defaults.skipMeshCreation"),
            skip_tenant_resources: tree.flag("defaults.skipTenantResources"),
            skip_hostname_generators: tree.flag("defaults.skipHostnameGenerators"),
            work_dir,
            tree,
        })
    }

    /// Which control plane writes.
    pub(crate) fn site(&self) -> Site {
        match &self.mode {
            Mode::Global => Site::Global,
            Mode::Zone { name, global_address } => {
                Site::Zone { name: name.clone(), federated: global_address.is_some(), kubernetes: self.kubernetes }
            }
        }
    }

    /// Whether this is a zone below a global control plane.
    pub(crate) fn is_federated_zone(&self) -> bool {
        matches!(&self.mode, Mode::Zone { global_address: Some(_), .. })
    }

    /// Name of the zone; empty on global.
    pub(crate) fn site_name(&self) -> &str {
        match &self.mode {
            Mode::Global => "",
            Mode::Zone { name, .. } => name,
        }
    }

    /// The lowest and the highest TLS version of a server, `""` for none. What a server does not say
    /// the section `general` says.
    pub(crate) fn tls_versions(&self, section: &str) -> (&str, &str) {
        let of = |key: &str| {
            let own = self.tree.text(&format!("{section}.{key}"));
            let general = self.tree.text(&format!("general.{key}"));
            // The lower bound has a default everywhere, so the stricter of both is meant.
            if own.is_empty() || general == "TLSv1_3" && key == "tlsMinVersion" { general } else { own }
        };
        (of("tlsMinVersion"), of("tlsMaxVersion"))
    }

    /// The cipher suites of a server, by Go's names; none means all. What `general` says holds for every
    /// server.
    pub(crate) fn tls_cipher_suites(&self, section: &str) -> Vec<String> {
        let general = self.tree.list("general.tlsCipherSuites");
        if general.is_empty() { self.tree.list(&format!("{section}.tlsCipherSuites")) } else { general }
    }

    /// Value of the label `zone` of all metrics.
    pub(crate) fn zone_of_metrics(&self) -> &str {
        match &self.mode {
            Mode::Global => "Global",
            Mode::Zone { name, .. } => name,
        }
    }
}

fn mode(tree: &Tree) -> Mode {
    if tree.text("mode") == "global" {
        return Mode::Global;
    }
    let global_address = Some(tree.text("multizone.zone.globalAddress").to_owned()).filter(|a| !a.is_empty());
    Mode::Zone { name: tree.text("multizone.zone.name").to_owned(), global_address }
}

fn work_dir(tree: &Tree) -> Result<PathBuf, SettingsError> {
    let given = tree.text("general.workDir");
    if !given.is_empty() {
        return Ok(PathBuf::from(given));
    }
    std::env::home_dir().map(|home| home.join(".kuma")).ok_or_else(|| {
        SettingsError::Invalid("general.workDir: expected a directory, because there is no home directory".to_owned())
    })
}

fn store(tree: &Tree, work_dir: &std::path::Path) -> Result<StoreSettings, SettingsError> {
    match tree.text("store.type") {
        "memory" => Ok(StoreSettings::Memory),
        "raft" => {
            let given = |key: &str| Some(tree.text(key)).filter(|path| !path.is_empty()).map(PathBuf::from);
            Ok(StoreSettings::Raft {
                data_dir: given("store.raft.dataDir").unwrap_or_else(|| work_dir.join("store")),
                key_file: given("store.raft.keyFile"),
                listen: socket_address(tree, "store.raft.listen")?,
                advertise: Some(tree.text("store.raft.advertise").to_owned()).filter(|text| !text.is_empty()),
                join: tree.list("store.raft.join"),
                join_token_file: given("store.raft.joinTokenFile"),
                peers: tree.list("store.raft.peers"),
                secret_file: given("store.raft.secretFile"),
                spread_proxies: tree.flag("store.raft.spreadProxies"),
                heartbeat: tree.time("store.raft.heartbeat").to_std(),
                election_timeout: tree.time("store.raft.electionTimeout").to_std(),
                commit_timeout: tree.time("store.raft.commitTimeout").to_std(),
                snapshot_after_entries: count(tree, "store.raft.snapshotAfterEntries"),
                entries_kept: count(tree, "store.raft.entriesKept"),
            })
        }
        other => Err(SettingsError::Invalid(format!(
            "store.type {other} is not supported by this control plane, which needs no database: \
             use raft (durable, replicated; the default) or memory"
        ))),
    }
}

fn socket_address(tree: &Tree, key: &str) -> Result<Option<SocketAddr>, SettingsError> {
    let text = tree.text(key);
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map_err(|_| {
        SettingsError::Invalid(format!("{key}: expected an IP address and a port as 0.0.0.0:5684, got {text:?}"))
    });
    parsed.map(Some)
}

fn tls(tree: &Tree, section: &str) -> Option<TlsSettings> {
    let file = |key: &str| tree.text(&format!("{section}.{key}")).to_owned();
    let (certificate, key) = (file("tlsCertFile"), file("tlsKeyFile"));
    (!certificate.is_empty() && !key.is_empty())
        .then(|| TlsSettings { certificate: certificate.into(), key: key.into() })
}

/// A number of things.
fn count(tree: &Tree, key: &str) -> u64 {
    u64::try_from(tree.number(key)).unwrap_or_default()
}

fn listener(tree: &Tree, interface: IpAddr, port_key: &'static str) -> Listener {
    Listener { interface, port: u16::try_from(tree.number(port_key)).unwrap_or_default(), port_key }
}

fn interface(tree: &Tree, key: &str) -> Result<IpAddr, SettingsError> {
    let text = tree.text(key);
    if text == "localhost" {
        return Ok(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    }
    text.parse().map_err(|_| SettingsError::Invalid(format!("{key}: expected an IP address, got {text:?}")))
}

fn api(tree: &Tree) -> Result<ApiSettings, SettingsError> {
    let http = tree.flag("apiServer.http.enabled");
    let https = tree.flag("apiServer.https.enabled");
    let http_interface = interface(tree, "apiServer.http.interface")?;
    let https_interface = interface(tree, "apiServer.https.interface")?;
    Ok(ApiSettings {
        http: http.then(|| listener(tree, http_interface, "apiServer.http.port")),
        https: https.then(|| listener(tree, https_interface, "apiServer.https.port")),
        tls: tls(tree, "apiServer.https"),
        user_token_keys: public_keys(tree, "apiServer.authn.tokens.validator.publicKeys")?,
        bootstrap_admin_token: tree.flag("apiServer.authn.tokens.bootstrapAdminToken"),
        client_ca_file: client_ca_file(tree)?,
        patience: Patience {
            head: limit(tree, "apiServer.readHeaderTimeout"),
            idle: limit(tree, "apiServer.idleTimeout"),
            write: limit(tree, "apiServer.writeTimeout"),
        },
    })
}

fn mads(tree: &Tree) -> Option<MadsSettings> {
    const SECTION: &str = "monitoringAssignmentServer";
    tree.flag("monitoringAssignmentServer.enabled").then(|| MadsSettings {
        listener: listener(tree, ANY, "monitoringAssignmentServer.port"),
        tls_enabled: tree.flag("monitoringAssignmentServer.tlsEnabled"),
        tls: tls(tree, SECTION),
        fetch_timeout: tree.time("monitoringAssignmentServer.defaultFetchTimeout").to_std(),
        refresh_interval: tree.time("monitoringAssignmentServer.assignmentRefreshInterval").to_std(),
    })
}

/// A limit of time; zero stands for none.
fn limit(tree: &Tree, key: &str) -> Option<Duration> {
    Some(tree.time(key).to_std()).filter(|limit| !limit.is_zero())
}

fn client_ca_file(tree: &Tree) -> Result<Option<PathBuf>, SettingsError> {
    if !tree.flag("apiServer.https.requireClientCert") {
        return Ok(None);
    }
    match tree.text("apiServer.https.tlsCaFile") {
        "" => {
            let why = "apiServer.https.tlsCaFile: expected the CAs of clients, as requireClientCert is set";
            Err(SettingsError::Invalid(why.to_owned()))
        }
        file => Ok(Some(file.into())),
    }
}

fn dp_server(tree: &Tree) -> Result<DpServerSettings, SettingsError> {
    Ok(DpServerSettings {
        listener: listener(tree, ANY, "dpServer.port"),
        tls: tls(tree, "dpServer"),
        authentication: tree.text("dpServer.authn.dpProxy.type").to_owned(),
        dataplane_token_keys: public_keys(tree, "dpServer.authn.dpProxy.dpToken.validator.publicKeys")?,
        read_header_timeout: tree.time("dpServer.readHeaderTimeout").to_std(),
        graceful_shutdown_timeout: tree.time("dpServer.gracefulShutdownTimeout").to_std(),
    })
}

fn public_keys(tree: &Tree, path: &str) -> Result<Vec<PublicKeyEntry>, SettingsError> {
    let entries = tree.structs(path).iter().enumerate().map(|(at, entry)| {
        let text = |name: &str| {
            let fields = entry.as_object().into_iter().flatten();
            let found = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).find_map(|(_, value)| value.as_str());
            found.unwrap_or_default().to_owned()
        };
        let invalid = |cause: &dyn std::fmt::Display| SettingsError::Invalid(format!("{path}[{at}]: {cause}"));
        let pem = match text("key") {
            inline if !inline.is_empty() => inline.into_bytes(),
            _ => std::fs::read(text("keyFile")).map_err(|e| invalid(&e))?,
        };
        let key = RsaPublicKey::parse(&pem).map_err(|e| invalid(&e))?;
        Ok(PublicKeyEntry { key_id: text("kid"), mesh: text("mesh"), key })
    });
    entries.collect()
}

fn access(tree: &Tree) -> AccessRules {
    let allowed = |rule: &str| Allowed {
        users: tree.list(&format!("access.static.{rule}.users")),
        groups: tree.list(&format!("access.static.{rule}.groups")),
    };
    AccessRules {
        admin_resources: allowed("adminResources"),
        generate_dp_token: allowed("generateDpToken"),
        generate_user_token: allowed("generateUserToken"),
        generate_zone_token: allowed("generateZoneToken"),
        view_config_dump: allowed("viewConfigDump"),
        view_stats: allowed("viewStats"),
        view_clusters: allowed("viewClusters"),
        control_plane_metadata: allowed("controlPlaneMetadata"),
    }
}
