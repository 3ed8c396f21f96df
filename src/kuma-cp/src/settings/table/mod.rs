//! Every key of the configuration: its path, its variable, its default. Kuma's keys, and
//! `store.raft` and `xdsServer.verifyViews` for what Kuma has not.

mod parts;
mod runtime;
mod servers;
mod store;

/// What a key holds, with its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// A text.
    Text(&'static str),
    /// A boolean.
    Flag(bool),
    /// An integer.
    Number(i64),
    /// A duration in Go's spelling.
    Time(&'static str),
    /// Texts; between commas in a variable.
    List(&'static [&'static str]),
    /// Pairs of texts; `k:v,k:v` in a variable.
    Map(&'static [(&'static str, &'static str)]),
    /// Structures, which no variable can hold; the default in JSON.
    Structs(&'static str),
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path in a file.
    pub(super) path: &'static str,
    /// Its variable without `KUMA_`; empty when it has none.
    pub(super) env: &'static str,
    /// What it holds.
    pub(super) holds: Holds,
}

const fn text(path: &'static str, env: &'static str, default: &'static str) -> Entry {
    Entry { path, env, holds: Holds::Text(default) }
}

const fn flag(path: &'static str, env: &'static str, default: bool) -> Entry {
    Entry { path, env, holds: Holds::Flag(default) }
}

const fn number(path: &'static str, env: &'static str, default: i64) -> Entry {
    Entry { path, env, holds: Holds::Number(default) }
}

const fn time(path: &'static str, env: &'static str, default: &'static str) -> Entry {
    Entry { path, env, holds: Holds::Time(default) }
}

const fn list(path: &'static str, env: &'static str, default: &'static [&'static str]) -> Entry {
    Entry { path, env, holds: Holds::List(default) }
}

const fn map(path: &'static str, env: &'static str, default: &'static [(&'static str, &'static str)]) -> Entry {
    Entry { path, env, holds: Holds::Map(default) }
}

const fn structs(path: &'static str, default: &'static str) -> Entry {
    Entry { path, env: "", holds: Holds::Structs(default) }
}

/// All keys.
pub(super) fn keys() -> impl Iterator<Item = &'static Entry> {
    [store::KEYS, servers::KEYS, runtime::KEYS, parts::KEYS].into_iter().flatten()
}

/// Variables that Kuma's documentation names differently than its code; both are heard.
pub(super) const OTHER_SPELLINGS: &[(&str, &str)] = &[
    ("API_SERVER_HTTPS_TLS_CA_FILE", "API_SERVER_HTTPS_CLIENT_CERTS_CA_FILE"),
    ("DNS_SERVER_SERVICE_VIP_PORT", "DNS_SERVICE_SERVICE_VIP_PORT"),
    ("STORE_POSTGRES_TLS_CA_PATH", "STORE_POSTGRES_TLS_ROOT_CERT_PATH"),
    ("RUNTIME_KUBERNETES_ADMISSION_SERVER_CERT_DIR", "kuma_runtime_kubernetes_admission_server_cert_dir"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_key_and_no_variable_stands_twice() {
        let mut seen = BTreeSet::new();
        for entry in keys() {
            assert!(seen.insert(entry.path.to_lowercase()), "{}", entry.path);
            let has_none = matches!(entry.holds, Holds::Structs(_));
            assert_eq!(entry.env.is_empty(), has_none, "{}", entry.path);
            assert!(has_none || seen.insert(entry.env.to_owned()), "{}", entry.env);
        }
        for (env, _) in OTHER_SPELLINGS {
            assert!(keys().any(|entry| entry.env == *env), "{env}");
        }
    }
}
