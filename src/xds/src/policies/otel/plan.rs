//! What kuma-dp is to do with telemetry: the document under `/otel`, from which it learns on which
//! sockets to listen, where to send what comes, and whether its environment may say otherwise.

use std::collections::BTreeMap;

use model::kinds::duration::GoDuration;
use model::kinds::mesh_open_telemetry_backend::{Env, EnvMode, EnvPrecedence};
use model::{Kind, registry};
use policy::{Conf, Rules};
use serde::{Deserialize, Serialize};

use super::super::ProxyTraits;
use super::{BackendRef, Collector, HTTPS_PORT, is_piped};
use crate::bootstrap::{OtelEnvInventory, OtelSignalEnv};
use crate::generators::dynamic_config::{self, Place};
use crate::resource_set::ResourceSet;

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Signal {
    Traces,
    Logs,
    Metrics,
}

/// What the confs of all observability policies have in common.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Exports {
    backends: Option<Vec<Backend>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Backend {
    open_telemetry: Option<Export>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Export {
    backend_ref: Option<BackendRef>,
    refresh_interval: Option<GoDuration>,
}

#[derive(Serialize)]
struct Document {
    backends: Vec<Planned>,
}

/// One collector.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    name: String,
    socket_path: String,
    endpoint: String,
    #[serde(rename = "useHTTP")]
    use_http: bool,
    #[serde(rename = "useHTTPS", skip_serializing_if = "std::ops::Not::not")]
    use_https: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    env_policy: Option<EnvPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traces: Option<SignalPlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<SignalPlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<SignalPlan>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvPolicy {
    mode: EnvMode,
    precedence: EnvPrecedence,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    allow_signal_overrides: bool,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct SignalPlan {
    enabled: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    env_input_present: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    override_kinds: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_fields: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocked_reasons: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_interval: Option<GoDuration>,
}

/// The collectors in use, by name, and how often what is sent.
type Uses = BTreeMap<String, (Collector, BTreeMap<Signal, Option<GoDuration>>)>;

/// Serves the document, when kuma-dp passes telemetry on and any policy sends to a collector.
pub(crate) fn publish(rules: &BTreeMap<Kind, Rules>, proxy: &ProxyTraits<'_>, set: &mut ResourceSet) {
    if !is_piped(proxy) {
        return;
    }
    let mut uses = Uses::new();
    for (kind, signal) in [
        (registry::MESH_TRACE, Signal::Traces),
        (registry::MESH_ACCESS_LOG, Signal::Logs),
        (registry::MESH_METRIC, Signal::Metrics),
    ] {
        let Some(rules) = rules.get(&kind) else { continue };
        let inbound = rules.inbound.values().flat_map(|inbound| inbound.rules.iter().map(|rule| &*rule.conf));
        let outbound = rules.to.iter().map(|(_, rule)| &rule.conf);
        let own = rules.proxy.as_ref().map(|own| &own.conf);
        inbound.chain(outbound).chain(own).for_each(|conf| gather(conf, signal, proxy, &mut uses));
    }
    if uses.is_empty() {
        return;
    }
    let backends = uses.values().map(|(collector, signals)| planned(collector, signals, &uses, proxy)).collect();
    // These types have no map, so JSON can express them.
    let body = serde_json::to_string(&Document { backends }).unwrap_or_default();
    let place = Place { work_dir: &proxy.metadata.work_dir, ipv6: proxy.metadata.ipv6_enabled };
    dynamic_config::add(set, place, "otel", body);
}

fn gather(conf: &Conf, signal: Signal, proxy: &ProxyTraits<'_>, uses: &mut Uses) {
    // A conf that cannot be read is a fault that the policy itself has reported.
    let Ok(exports) = Exports::deserialize(conf.value()) else { return };
    for export in exports.backends.into_iter().flatten().filter_map(|backend| backend.open_telemetry) {
        let Some(collector) = export.backend_ref.and_then(|reference| Collector::find(proxy, &reference)) else {
            continue;
        };
        let (_, signals) = uses.entry(collector.name.clone()).or_insert_with(|| (collector, BTreeMap::new()));
        signals.entry(signal).or_insert(export.refresh_interval);
    }
}

fn planned(
    collector: &Collector,
    signals: &BTreeMap<Signal, Option<GoDuration>>,
    uses: &Uses,
    proxy: &ProxyTraits<'_>,
) -> Planned {
    let env_policy = collector.env.as_ref().map(EnvPolicy::of);
    let plan = |signal| {
        let refresh_interval = *signals.get(&signal)?;
        let is_shared = uses.values().filter(|(_, signals)| signals.contains_key(&signal)).count() > 1;
        let inventory = proxy.metadata.otel_env_inventory.as_ref();
        let mut plan = inventory.map_or_else(SignalPlan::default, |inventory| {
            SignalPlan::of(signal, inventory, env_policy.as_ref(), is_shared)
        });
        if inventory.is_none() && env_policy.as_ref().is_some_and(EnvPolicy::is_required) {
            plan.blocked_reasons.push("RequiredEnvMissing");
        }
        Some(SignalPlan { enabled: true, refresh_interval, ..plan })
    };
    Planned {
        name: collector.name.clone(),
        socket_path: proxy.socket(&format!("kuma-otel-{}", collector.name)),
        endpoint: format!("{}:{}", collector.stated_address.as_deref().unwrap_or_default(), collector.port),
        use_http: collector.is_http,
        use_https: collector.is_http && collector.port == HTTPS_PORT,
        path: collector.path.clone(),
        traces: plan(Signal::Traces),
        logs: plan(Signal::Logs),
        metrics: plan(Signal::Metrics),
        env_policy,
    }
}

impl EnvPolicy {
    fn of(env: &Env) -> Self {
        Self {
            mode: env.mode.clone().unwrap_or(EnvMode::Optional),
            precedence: env.precedence.clone().unwrap_or(EnvPrecedence::EnvFirst),
            allow_signal_overrides: env.allow_signal_overrides.unwrap_or(true),
        }
    }

    fn is_required(&self) -> bool {
        self.mode == EnvMode::Required
    }

    fn is_disabled(&self) -> bool {
        self.mode == EnvMode::Disabled
    }
}

impl SignalPlan {
    fn of(signal: Signal, inventory: &OtelEnvInventory, policy: Option<&EnvPolicy>, is_shared: bool) -> Self {
        let own = match signal {
            Signal::Traces => &inventory.traces,
            Signal::Logs => &inventory.logs,
            Signal::Metrics => &inventory.metrics,
        };
        let is_present = [&inventory.shared, own].into_iter().flatten().any(says_anything);
        let override_kinds = own.as_ref().map(|own| own.override_kinds.clone()).unwrap_or_default();
        let is_required = policy.is_some_and(EnvPolicy::is_required);
        let is_disabled = policy.is_some_and(EnvPolicy::is_disabled);
        let missing_fields = if is_required { missing(signal, inventory) } else { Vec::new() };
        let reasons = [
            ("EnvDisabledByPolicy", is_disabled && is_present),
            ("RequiredEnvMissing", is_required && (!is_present || !missing_fields.is_empty())),
            (
                "SignalOverridesDisallowed",
                !override_kinds.is_empty() && policy.is_some_and(|policy| !policy.allow_signal_overrides),
            ),
            ("MultipleBackendsForSignal", is_shared && is_present && !is_disabled),
        ];
        let blocked_reasons = reasons.into_iter().filter(|(_, holds)| *holds).map(|(reason, _)| reason).collect();
        Self { env_input_present: is_present, override_kinds, missing_fields, blocked_reasons, ..Self::default() }
    }
}

fn says_anything(env: &OtelSignalEnv) -> bool {
    env.endpoint_present
        || env.protocol_present
        || env.headers_present
        || env.timeout_present
        || env.compression_present
        || env.insecure_present
        || env.certificate_present
        || env.client_certificate_present
        || env.client_key_present
}

/// The variables without which those that are set are of no use.
fn missing(signal: Signal, inventory: &OtelEnvInventory) -> Vec<String> {
    let own = match signal {
        Signal::Traces => "traces",
        Signal::Logs => "logs",
        Signal::Metrics => "metrics",
    };
    let mut fields = Vec::new();
    for error in &inventory.validation_errors {
        match error.split_once('.') {
            Some((scope, "mtls")) if scope == "shared" || scope == own => {
                fields.extend(["client_certificate".to_owned(), "client_key".to_owned()]);
            }
            Some((scope, field)) if scope == "shared" || scope == own => fields.push(field.to_owned()),
            Some(_) | None => {}
        }
    }
    fields.sort_unstable();
    fields.dedup();
    fields
}

#[cfg(test)]
mod tests;
