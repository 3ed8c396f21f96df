//! The rules of the configuration, in Kuma's words.

use std::net::IpAddr;

use super::tree::Tree;
use crate::ciphers;

/// Faults of one section, without the section's name.
type Faults = Vec<String>;

/// All faults.
pub(super) fn all(tree: &Tree) -> Faults {
    let is_global = tree.text("mode") == "global";
    let mut faults = top_level(tree);
    let mut section = |name: &str, found: Faults| {
        faults.extend(found.into_iter().map(|fault| format!("{name} validation failed: {fault}")));
    };
    if is_global {
        section("Multizone Global", global(tree));
    } else {
        section("Multizone Zone", zone(tree));
        section("Xds Server", xds_server(tree));
        section("Bootstrap Server", bootstrap_server(tree));
        section("Monitoring Assignment Server", monitoring(tree));
    }
    section("Store", store(tree));
    section("ApiServer", api_server(tree));
    section("DNSServer", dns_server(tree));
    section("Diagnostics", diagnostics(tree));
    section("DpServer", dp_server(tree));
    section("InterCp", inter_cp(tree));
    section("IPAM", ipam(tree));
    let mut general = Faults::new();
    tls_versions(tree, "general", &mut general);
    section("General", general);
    section("Access", access(tree));
    faults
}

fn check(faults: &mut Faults, holds: bool, fault: impl Into<String>) {
    if !holds {
        faults.push(fault.into());
    }
}

fn is_port(number: i64) -> bool {
    (0..=65535).contains(&number)
}

fn certificate_pair(tree: &Tree, section: &str, faults: &mut Faults) {
    let has = |key: &str| !tree.text(&format!("{section}.{key}")).is_empty();
    let (certificate, key) = (has("tlsCertFile"), has("tlsKeyFile"));
    check(faults, certificate || !key, ".TlsCertFile cannot be empty if TlsKeyFile has been set");
    check(faults, key || !certificate, ".TlsKeyFile cannot be empty if TlsCertFile has been set");
    tls_versions(tree, section, faults);
}

fn tls_versions(tree: &Tree, section: &str, faults: &mut Faults) {
    for key in ["tlsMinVersion", "tlsMaxVersion"] {
        let version = tree.text(&format!("{section}.{key}"));
        let known = ["", "TLSv1_2", "TLSv1_3"].contains(&version);
        check(faults, known, format!("unsupported tls version: {version} supported versions:[TLSv1_2,TLSv1_3]"));
    }
    faults.extend(tree.list(&format!("{section}.tlsCipherSuites")).iter().filter_map(|name| ciphers::fault(name)));
}

fn top_level(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    let (mode, environment) = (tree.text("mode"), tree.text("environment"));
    check(
        &mut faults,
        ["zone", "global"].contains(&mode),
        "Mode validation failed: invalid mode. Available modes: zone, global",
    );
    let known = ["universal", "kubernetes"].contains(&environment);
    check(&mut faults, known, "Environment should be either kubernetes or universal");
    let native = "Kubernetes-native Global Control Plane is not supported: mode=global cannot be combined with";
    check(&mut faults, mode != "global" || environment != "kubernetes", format!("{native} environment=kubernetes."));
    let store = tree.text("store.type");
    check(&mut faults, mode != "global" || store != "kubernetes", format!("{native} store.type=kubernetes."));
    faults
}

fn global(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    let at = |key: &str| format!("multizone.global.kds.{key}");
    check(&mut faults, is_port(tree.number(&at("grpcPort"))), ".GrpcPort must be in the range [0, 65535]");
    let positive = |key: &str| tree.time(&at(key)).to_std() > std::time::Duration::ZERO;
    check(&mut faults, positive("zoneInsightFlushInterval"), ".ZoneInsightFlushInterval must be positive");
    check(&mut faults, positive("eventBasedWatchdog.flushInterval"), ".FlushInterval must be positive");
    check(&mut faults, positive("eventBasedWatchdog.fullResyncInterval"), ".FullResyncInterval must be positive");
    let both = positive("zoneHealthCheck.pollInterval") == positive("zoneHealthCheck.timeout");
    check(&mut faults, both, "timeout and pollInterval must both be either set or unset");
    certificate_pair(tree, "multizone.global.kds", &mut faults);
    faults
}

fn zone(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    let name = tree.text("multizone.zone.name");
    let messages = model::names::dns_1035_label(name);
    if name.is_empty() {
        faults.push("Name is mandatory".to_owned());
    } else if !messages.is_empty() {
        faults.push(format!("Zone name {name:?} has to be a valid RFC1035 DNS label: {}", messages.join("; ")));
    }
    let address = tree.text("multizone.zone.globalAddress");
    if !address.is_empty() {
        match address.split_once("://") {
            Some(("grpc" | "grpcs", host)) if !host.is_empty() => {}
            Some((scheme, _)) if !["grpc", "grpcs"].contains(&scheme) => {
                faults.push(format!("unsupported scheme {scheme:?} in zone GlobalAddress. Use one of [grpc grpcs]"));
            }
            _ => faults.push("unable to parse zone GlobalAddress.".to_owned()),
        }
    }
    faults
}

fn xds_server(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    let positive = |key: &str| tree.time(&format!("xdsServer.{key}")).to_std() > std::time::Duration::ZERO;
    let refresh = positive("dataplaneConfigurationRefreshInterval");
    check(&mut faults, refresh, "DataplaneConfigurationRefreshInterval must be positive");
    check(&mut faults, positive("dataplaneStatusFlushInterval"), "DataplaneStatusFlushInterval must be positive");
    let size = tree.number("xdsServer.policyMatchingCacheSize");
    check(&mut faults, size >= 0, "PolicyMatchingCacheSize must be non-negative");
    faults
}

fn bootstrap_server(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    let at = |key: &str| format!("bootstrapServer.params.{key}");
    let address = tree.text(&at("adminAddress"));
    if address.is_empty() {
        faults.push("AdminAddress cannot be empty".to_owned());
    } else {
        check(&mut faults, address.parse::<IpAddr>().is_ok(), "AdminAddress should be a valid IP address");
    }
    for (key, name) in [("adminPort", "AdminPort"), ("readinessPort", "ReadinessPort"), ("xdsPort", "XdsPort")] {
        check(&mut faults, is_port(tree.number(&at(key))), format!("{name} must be in the range [0, 65535]"));
    }
    let log = tree.text(&at("adminAccessLogPath"));
    check(&mut faults, !log.is_empty(), "AdminAccessLogPath cannot be empty");
    let negative = tree.time(&at("xdsConnectTimeout")).is_negative();
    check(&mut faults, !negative, "XdsConnectTimeout cannot be negative");
    let size = tree.number(&at("xdsGrpcMaxReceiveMessageBytes"));
    check(&mut faults, u32::try_from(size).is_ok_and(|size| size > 0), "XdsGrpcMaxReceiveMessageBytes cannot be zero");
    faults.into_iter().map(|fault| format!("Params validation failed: {fault}")).collect()
}

fn monitoring(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    let at = |key: &str| format!("monitoringAssignmentServer.{key}");
    check(&mut faults, is_port(tree.number(&at("port"))), ".Port must be in the range [0, 65535]");
    let versions = tree.list(&at("apiVersions"));
    check(&mut faults, !versions.is_empty(), ".ApiVersions must contain at least one version");
    for version in versions.iter().filter(|version| *version != "v1") {
        faults.push(format!(".ApiVersions contains invalid version {version}"));
    }
    let interval = tree.time(&at("assignmentRefreshInterval")).to_std();
    check(&mut faults, !interval.is_zero(), ".AssignmentRefreshInterval must be positive");
    certificate_pair(tree, "monitoringAssignmentServer", &mut faults);
    faults
}

fn store(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    let known = ["postgres", "kubernetes", "memory", "raft"].contains(&tree.text("store.type"));
    check(&mut faults, known, "Type should be either postgres, kubernetes, memory or raft");
    let backoff = tree.time("store.upsert.conflictRetryBaseBackoff");
    check(&mut faults, !backoff.is_negative(), "RetryBaseBackoff cannot be lower than 0");
    let joins = !tree.list("store.raft.join").is_empty();
    let listens = !tree.text("store.raft.listen").is_empty();
    let has_token = !tree.text("store.raft.joinTokenFile").is_empty();
    check(&mut faults, listens || !joins, "Raft validation failed: Listen cannot be empty if Join has been set");
    check(
        &mut faults,
        has_token || !joins,
        "Raft validation failed: JoinTokenFile cannot be empty if Join has been set",
    );
    let has_peers = !tree.list("store.raft.peers").is_empty();
    let has_secret = !tree.text("store.raft.secretFile").is_empty();
    check(&mut faults, listens || !has_peers, "Raft validation failed: Listen cannot be empty if Peers has been set");
    check(
        &mut faults,
        has_secret || !has_peers,
        "Raft validation failed: SecretFile cannot be empty if Peers has been set",
    );
    check(&mut faults, !joins || !has_peers, "Raft validation failed: only one of Join and Peers can be set");
    let heartbeat = tree.time("store.raft.heartbeat").to_std();
    let election = tree.time("store.raft.electionTimeout").to_std();
    check(&mut faults, !heartbeat.is_zero(), "Raft validation failed: Heartbeat must be positive");
    check(
        &mut faults,
        election >= heartbeat * 3,
        "Raft validation failed: ElectionTimeout must be at least three times Heartbeat",
    );
    faults
}

fn api_server(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    for (key, name) in [("http", ".HTTP"), ("https", ".HTTPS")] {
        let interface = tree.text(&format!("apiServer.{key}.interface"));
        check(&mut faults, !interface.is_empty(), format!("{name} not valid: Interface cannot be empty"));
        let port = tree.number(&format!("apiServer.{key}.port"));
        check(&mut faults, is_port(port), format!("{name} not valid: Port must be in range [0, 65535]"));
    }
    let has = |key: &str| !tree.text(&format!("apiServer.https.{key}")).is_empty();
    let both = has("tlsCertFile") == has("tlsKeyFile");
    check(&mut faults, both, ".HTTPS not valid: Both TlsCertFile and TlsKeyFile has to be specified");
    tls_versions(tree, "apiServer.https", &mut faults);
    let root = tree.text("apiServer.rootUrl");
    check(&mut faults, root.is_empty() || root.contains("://"), "RootUrl is not a valid URL");
    for (key, name) in [
        ("readHeaderTimeout", ".ReadHeaderTimeout"),
        ("readTimeout", ".ReadTimeout"),
        ("writeTimeout", ".WriteTimeout"),
        ("idleTimeout", ".IdleTimeout"),
    ] {
        let negative = tree.time(&format!("apiServer.{key}")).is_negative();
        check(&mut faults, !negative, format!("{name} must be greater or equal 0s"));
    }
    let authn = tree.text("apiServer.authn.type");
    check(&mut faults, authn == "tokens", format!("there is not implementation of authn named {authn}"));
    let prefix = ".Authn is not valid: .Tokens is not valid: .Validator is not valid: ";
    let keys = public_keys(tree, "apiServer.authn.tokens.validator.publicKeys");
    faults.extend(keys.into_iter().map(|fault| format!("{prefix}{fault}")));
    faults
}

fn public_keys(tree: &Tree, path: &str) -> Faults {
    let mut faults = Vec::new();
    for (at, entry) in tree.structs(path).iter().enumerate() {
        let has = |name: &str| {
            let mut fields = entry.as_object().into_iter().flatten();
            fields.any(|(key, value)| key.eq_ignore_ascii_case(name) && value.as_str().is_some_and(|v| !v.is_empty()))
        };
        let mut fault = |text: &str| faults.push(format!(".PublicKeys[{at}] is not valid: {text}"));
        if !has("kid") {
            fault(".KID is required");
        }
        match (has("key"), has("keyFile")) {
            (false, false) => fault("either .KeyFile or .Key has to be defined"),
            (true, true) => fault("both .KeyFile or .Key cannot be defined"),
            (true, false) | (false, true) => {}
        }
    }
    faults
}

fn dns_server(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    check(&mut faults, !tree.text("dnsServer.domain").starts_with('.'), "domain must not start with a dot");
    check(&mut faults, tree.number("dnsServer.serviceVipPort") != 0, "port can't be 0");
    faults
}

fn diagnostics(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    check(&mut faults, is_port(tree.number("diagnostics.serverPort")), ".ServerPort must be in the range [0, 65535]");
    certificate_pair(tree, "diagnostics", &mut faults);
    faults
}

fn dp_server(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    check(&mut faults, is_port(tree.number("dpServer.port")), ".Port must be in the range [0, 65535]");
    certificate_pair(tree, "dpServer", &mut faults);
    let kind = tree.text("dpServer.authn.dpProxy.type");
    let known = ["serviceAccountToken", "dpToken", "none"].contains(&kind);
    check(&mut faults, known, format!(".Authn.DpProxy.Type is not valid: {kind:?}"));
    faults.extend(public_keys(tree, "dpServer.authn.dpProxy.dpToken.validator.publicKeys"));
    faults
}

fn inter_cp(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    check(&mut faults, tree.number("interCp.server.port") != 0, ".Server validation failed: .Port cannot be zero");
    faults
}

fn ipam(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    let is_net = |text: &str| text.parse::<ipnet::IpNet>().is_ok();
    for (key, name) in [
        ("meshService", ".MeshServiceCIDR"),
        ("meshExternalService", ".MeshExternalServiceCIDR"),
        ("meshMultiZoneService", ".MeshMultiZoneServiceCIDR"),
    ] {
        check(&mut faults, is_net(tree.text(&format!("ipam.{key}.cidr"))), format!("{name} is invalid"));
    }
    for entry in tree.list("ipam.knownInternalCIDRs") {
        check(&mut faults, is_net(&entry), format!("entry '{entry}' in .KnownInternalCIDRs is invalid"));
    }
    faults
}

fn access(tree: &Tree) -> Faults {
    let mut faults = Vec::new();
    match tree.text("access.type") {
        "static" => {}
        "" => faults.push("Type has to be defined".to_owned()),
        other => faults.push(format!("there is no implementation of access named {other}")),
    }
    faults
}
