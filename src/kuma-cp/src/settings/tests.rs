//! Settings from nothing, from files and from the environment.

use std::collections::BTreeMap;

use identity::AccessRules;
use xds::generators::internal_addresses::InternalAddresses;

use super::*;

fn loaded(yaml: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kuma-cp.yaml");
    std::fs::write(&file, yaml).unwrap();
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    load(Some(&file), &|name| variables.get(name).map(|text| (*text).to_owned()))
        .map_err(|e| e.to_string().replace(&file.display().to_string(), "FILE"))
}

#[test]
fn defaults_are_kumas_on_a_durable_store() {
    let Loaded { settings, warnings } = load(None, &|_| None).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(settings.mode, Mode::Zone { name: "default".to_owned(), global_address: None });
    assert!(matches!(settings.store, StoreSettings::Raft { .. }));
    assert_eq!(settings.access, AccessRules::default());
    assert_eq!(settings.dp_server.listener.port, 5678);
    assert_eq!(settings.dp_server.authentication, "dpToken");
    assert_eq!(settings.api.http.as_ref().map(|l| l.port), Some(5681));
    let dump = settings.tree.masked();
    assert_eq!(dump["bootstrapServer"]["params"]["xdsPort"], 5678);
    assert_eq!(dump["store"]["postgres"]["password"], "*****");
    assert_eq!(dump["apiServer"]["idleTimeout"], "2m0s");
}

#[test]
fn the_environment_wins_over_the_file_and_keys_match_in_any_case() {
    let yaml = "mode: global\nSTORE:\n  Type: memory\napiserver: {http: {port: 1}}\ndpServer: {port: 7777}\n";
    let Loaded { settings, warnings } = loaded(
        yaml,
        &[
            ("KUMA_API_SERVER_HTTP_PORT", "2"),
            ("KUMA_ACCESS_STATIC_GET_CONFIG_DUMP_GROUPS", "a, b"),
            ("KUMA_DNS_SERVICE_SERVICE_VIP_PORT", "81"),
            ("KUMA_RUNTIME_UNIVERSAL_DATAPLANE_CLEANUP_AGE", "90m"),
        ],
    )
    .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((settings.mode, settings.store), (Mode::Global, StoreSettings::Memory));
    assert_eq!(settings.api.http.map(|l| l.port), Some(2));
    assert_eq!(settings.access.view_config_dump.groups, ["a", "b"]);
    let dump = settings.tree.masked();
    assert_eq!(dump["dnsServer"]["serviceVipPort"], 81);
    assert_eq!(dump["runtime"]["universal"]["dataplaneCleanupAge"], "1h30m0s");
    assert_eq!(dump["bootstrapServer"]["params"]["xdsPort"], 7777);
}

#[test]
fn unknown_keys_are_told_and_ignored() {
    let Loaded { warnings, .. } = loaded("store: {type: memory, tpye: x}\nnothing: {a: 1}\nmode:\n", &[]).unwrap();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].starts_with("unknown key nothing in "), "{warnings:?}");
    assert!(warnings[1].starts_with("unknown key store.tpye in "), "{warnings:?}");
}

#[test]
fn what_cannot_be_used_is_refused() {
    for (yaml, variables, message) in [
        (
            "store: {type: postgres}",
            vec![],
            "store.type postgres is not supported by this control plane, which needs no database: use raft (durable, replicated; the default) or memory",
        ),
        (
            "general: {tlsCipherSuites: [TLS_NONE]}",
            vec![],
            "General validation failed: unsupported tls cipher: TLS_NONE",
        ),
        ("mode: both", vec![], "Mode validation failed: invalid mode. Available modes: zone, global"),
        (
            "store: {type: oracle}",
            vec![],
            "Store validation failed: Type should be either postgres, kubernetes, memory or raft",
        ),
        (
            "mode: global\nenvironment: kubernetes",
            vec![],
            "Kubernetes-native Global Control Plane is not supported: mode=global cannot be combined with environment=kubernetes.",
        ),
        (
            "multizone: {zone: {name: Zone_1}}",
            vec![],
            "Multizone Zone validation failed: Zone name \"Zone_1\" has to be a valid RFC1035 DNS label",
        ),
        (
            "multizone: {zone: {globalAddress: 'http://x'}}",
            vec![],
            "unsupported scheme \"http\" in zone GlobalAddress. Use one of [grpc grpcs]",
        ),
        (
            "bootstrapServer: {params: {adminAddress: host}}",
            vec![],
            "Bootstrap Server validation failed: Params validation failed: AdminAddress should be a valid IP address",
        ),
        (
            "apiServer: {authn: {tokens: {validator: {publicKeys: [{kid: a}]}}}}",
            vec![],
            ".PublicKeys[0] is not valid: either .KeyFile or .Key has to be defined",
        ),
        (
            "apiServer: {authn: {tokens: {validator: {publicKeys: [{kid: a, key: hello}]}}}}",
            vec![],
            "apiServer.authn.tokens.validator.publicKeys[0]: failed to parse PEM encoded key",
        ),
        ("apiServer: {authn: {type: ldap}}", vec![], "there is not implementation of authn named ldap"),
        ("apiServer: {http: {port: many}}", vec![], "apiServer.http.port: expected a whole number, got \"many\""),
        (
            "",
            vec![("KUMA_API_SERVER_HTTP_PORT", "")],
            "envconfig.Process: assigning KUMA_API_SERVER_HTTP_PORT: converting '' to type int",
        ),
        ("", vec![("KUMA_XDS_SERVER_NACK_BACKOFF", "5")], "converting '5' to type time.Duration"),
        ("a: [", vec![], "parsing configuration from file 'FILE' failed: "),
    ] {
        let error = loaded(yaml, &variables).unwrap_err();
        assert!(error.contains(message), "{yaml}: {error}");
    }
    let missing = load(Some(std::path::Path::new("/no/such")), &|_| None).unwrap_err().to_string();
    assert!(missing.starts_with("unable to access configuration file '/no/such', please check"), "{missing}");
}

#[test]
fn a_bare_number_in_a_file_is_nanoseconds() {
    let Loaded { settings, .. } = loaded("general: {dnsCacheTTL: 1000000000}", &[]).unwrap();
    assert_eq!(settings.tree.masked()["general"]["dnsCacheTTL"], "1s");
}

#[test]
fn internal_addresses_and_the_spire_socket_reach_proxies_and_the_api_alike() {
    let yaml = "{ipam: {knownInternalCIDRs: [100.64.0.0/10]}, runtime: {universal: {spire: {socketPath: /run/spire}}}}";
    let Loaded { settings, .. } = loaded(yaml, &[]).unwrap();
    let view = settings.view(&xds::ViewSettings::default());
    assert_eq!(view.internal_addresses, InternalAddresses::parse(&["100.64.0.0/10"]));
    assert_eq!(view.spire_socket_path, "/run/spire");
    let proxies = settings.proxies("cp").unwrap();
    assert_eq!(proxies.internal_addresses, view.internal_addresses);
    assert_eq!(proxies.spire_socket_path, view.spire_socket_path);
}
