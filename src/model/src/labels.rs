//! Labels: the keys that have a meaning, the computed ones, and what writers may set.

use serde::Deserialize;

use crate::descriptor::{Form, KdsFlags, Kind, Scope};
use crate::kinds::dataplane::{Dataplane, ListenerType};
use crate::kinds::target_ref::{RefKind, TargetRef};
use crate::meta::Labels;
use crate::names::{dns_1035_label, dns_1123_subdomain};
use crate::resource::Spec;
use crate::violation::Violations;

/// Original name of a resource.
pub const DISPLAY_NAME: &str = "kuma.io/display-name";
/// Mesh of a resource.
pub const MESH: &str = "kuma.io/mesh";
/// Which side created a resource: `global` or `zone`.
pub const ORIGIN: &str = "kuma.io/origin";
/// Zone that created a resource.
pub const ZONE: &str = "kuma.io/zone";
/// Environment that created a resource: `universal` or `kubernetes`.
pub const ENV: &str = "kuma.io/env";
/// Kubernetes namespace of a resource.
pub const NAMESPACE: &str = "k8s.kuma.io/namespace";
/// Role of a policy.
pub const POLICY_ROLE: &str = "kuma.io/policy-role";
/// Service account of a dataplane's Pod.
pub const SERVICE_ACCOUNT: &str = "k8s.kuma.io/service-account";
/// Workload of a dataplane.
pub const WORKLOAD: &str = "kuma.io/workload";
/// `enabled` on dataplanes with a zone ingress listener.
pub const LISTENER_ZONE_INGRESS: &str = "kuma.io/listener-zoneingress";
/// `enabled` on dataplanes with a zone egress listener.
pub const LISTENER_ZONE_EGRESS: &str = "kuma.io/listener-zoneegress";
/// Type of a proxy in old versions; removed.
pub const PROXY_TYPE: &str = "kuma.io/proxy-type";
/// Whether a resource is synchronised: `enabled` or `disabled`.
pub const KDS_SYNC: &str = "kuma.io/kds-sync";
/// `shadow` on policies that are shown but not applied.
pub const EFFECT: &str = "kuma.io/effect";
/// Who maintains a generated resource.
pub const MANAGED_BY: &str = "kuma.io/managed-by";
/// When a generated MeshService lost its last dataplane.
pub const DELETION_GRACE_PERIOD_STARTED_AT: &str = "kuma.io/deletion-grace-period-started-at";
/// Beginning of the labels that track which labels a generator propagated.
pub const PROPAGATED_KEY_PREFIX: &str = "kuma.io/pkey-";
/// Kubernetes Service behind a MeshService.
pub const SERVICE_NAME: &str = "k8s.kuma.io/service-name";
/// Whether that Service is headless.
pub const IS_HEADLESS_SERVICE: &str = "k8s.kuma.io/is-headless-service";
/// Tag of a delegated gateway's service.
pub const SERVICE_TAG: &str = "kuma.io/service";
/// Tag of a protocol.
pub const PROTOCOL_TAG: &str = "kuma.io/protocol";

/// Value of [`ORIGIN`] on global.
pub const ORIGIN_GLOBAL: &str = "global";
/// Value of [`ORIGIN`] in zones.
pub const ORIGIN_ZONE: &str = "zone";
/// Value of the listener labels and of [`KDS_SYNC`].
pub const ENABLED: &str = "enabled";

/// Whether a key belongs to Kuma.
pub fn is_reserved(key: &str) -> bool {
    key.starts_with("kuma.io/") || key.starts_with("k8s.kuma.io/")
}

/// The control plane that writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The global control plane.
    Global,
    /// A zone control plane.
    Zone {
        /// Name of the zone.
        name: String,
        /// Whether it has a global control plane.
        federated: bool,
        /// Whether it runs on Kubernetes.
        kubernetes: bool,
    },
}

impl Site {
    /// A zone of its own on Universal.
    pub fn universal_zone(name: &str) -> Self {
        Self::Zone { name: name.to_owned(), federated: false, kubernetes: false }
    }

    /// The origin of what it creates.
    pub fn origin(&self) -> &'static str {
        match self {
            Self::Global => ORIGIN_GLOBAL,
            Self::Zone { .. } => ORIGIN_ZONE,
        }
    }

    /// Whether a resource with these labels was created on this side.
    pub fn is_origin_of(&self, labels: &Labels) -> bool {
        labels.get(ORIGIN).is_none_or(|origin| origin == self.origin())
    }
}

/// A Kubernetes namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is the control plane's own.
    pub is_system: bool,
}

/// A resource whose labels are computed.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its spec.
    pub spec: &'a Spec,
    /// Its mesh, empty for global kinds.
    pub mesh: &'a str,
    /// Its display name.
    pub display_name: &'a str,
    /// Its namespace; `None` on Universal.
    pub namespace: Option<Namespace<'a>>,
    /// Service account of its Pod, when known.
    pub service_account: Option<&'a str>,
    /// Workload of its Pod, when known.
    pub workload: Option<&'a str>,
    /// Whether the writer is trusted with resources of the other side.
    pub privileged: bool,
}

impl<'a> Subject<'a> {
    /// A resource on Universal.
    pub fn new(kind: Kind, spec: &'a Spec, mesh: &'a str, display_name: &'a str) -> Self {
        Self {
            kind,
            spec,
            mesh,
            display_name,
            namespace: None,
            service_account: None,
            workload: None,
            privileged: false,
        }
    }
}

/// A policy whose `to` items have different roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it's not allowed to mix producer and consumer items in the same policy")]
pub struct MixedRoles;

/// The labels that a resource is stored with, given those that its writer set.
///
/// # Errors
/// [`MixedRoles`], for policies on Kubernetes.
pub fn compute(given: &Labels, subject: &Subject<'_>, site: &Site) -> Result<Labels, MixedRoles> {
    let mut labels = given.clone();
    let is_local = site.is_origin_of(given);
    if subject.privileged && !is_local {
        return Ok(labels);
    }
    let mut set = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
    set(DISPLAY_NAME, subject.display_name);
    set(ORIGIN, site.origin());
    let mut set_if_absent = |key: &str, value: &str| {
        labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    };
    if subject.kind.scope == Scope::Mesh {
        set_if_absent(MESH, if subject.mesh.is_empty() { "default" } else { subject.mesh });
    }
    if let Site::Zone { name, kubernetes, .. } = site {
        if subject.kind.kds.has(KdsFlags::PROVIDED_BY_ZONE) {
            set_if_absent(ZONE, name);
            set_if_absent(ENV, if *kubernetes { "kubernetes" } else { "universal" });
        }
        if let Some(namespace) = subject.namespace.filter(|_| *kubernetes && is_local) {
            set_if_absent(NAMESPACE, namespace.name);
        }
    }
    if let Some(namespace) = subject.namespace.filter(|_| subject.kind.is_policy && is_local) {
        labels.insert(POLICY_ROLE.to_owned(), role(subject.spec, Some(namespace))?.to_owned());
    }
    if let Some(dataplane) = subject.spec.get::<Dataplane>() {
        labels.remove(PROXY_TYPE);
        for (key, kind) in
            [(LISTENER_ZONE_INGRESS, ListenerType::ZoneIngress), (LISTENER_ZONE_EGRESS, ListenerType::ZoneEgress)]
        {
            if dataplane.has_listener(kind) {
                labels.insert(key.to_owned(), ENABLED.to_owned());
            } else {
                labels.remove(key);
            }
        }
    }
    for (key, value) in [(SERVICE_ACCOUNT, subject.service_account), (WORKLOAD, subject.workload)] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            labels.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(labels)
}

#[derive(Deserialize)]
struct ToItems {
    #[serde(default)]
    to: Vec<ToItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToItem {
    #[serde(default)]
    target_ref: TargetRef,
}

/// The role of a policy: `system`, `producer`, `consumer` or `workload-owner`.
///
/// # Errors
/// [`MixedRoles`] when its `to` items disagree.
pub fn role(spec: &Spec, namespace: Option<Namespace<'_>>) -> Result<&'static str, MixedRoles> {
    let Some(namespace) = namespace.filter(|namespace| !namespace.is_system) else { return Ok("system") };
    let items = serde_json::from_str::<ToItems>(spec.json()).map(|items| items.to).unwrap_or_default();
    if items.is_empty() {
        return Ok("workload-owner");
    }
    let producers = items.iter().filter(|item| is_producer(&item.target_ref, namespace.name)).count();
    match producers {
        0 => Ok("consumer"),
        n if n == items.len() => Ok("producer"),
        _ => Err(MixedRoles),
    }
}

fn is_producer(target: &TargetRef, namespace: &str) -> bool {
    matches!(target.kind, RefKind::MeshService | RefKind::MeshHttpRoute)
        && target.label(DISPLAY_NAME).is_some()
        && target.labels.iter().flatten().all(|(key, _)| key == DISPLAY_NAME || key == NAMESPACE)
        && target.label(NAMESPACE).is_none_or(|value| value == namespace)
}

fn field(key: &str) -> String {
    format!("labels[{key:?}]")
}

/// What is wrong with the labels that a writer sets over REST. `check_origin` is off where the
/// operator allows origins of the other side.
pub fn check_write(kind: Kind, mesh: &str, labels: &Labels, site: &Site, check_origin: bool) -> Violations {
    let mut violations = Violations::new();
    let origin = labels.get(ORIGIN).map(String::as_str);
    if let Some(origin) = origin.filter(|origin| *origin != ORIGIN_GLOBAL && *origin != ORIGIN_ZONE) {
        violations.add(field(ORIGIN), format!("unknown resource origin {origin:?}"));
    }
    if check_origin {
        violations.append(check_writable_origin(kind, labels, site));
    }
    if let Site::Zone { name, .. } = site
        && origin != Some(ORIGIN_GLOBAL)
    {
        if labels.get(ZONE).is_some_and(|zone| zone != name) {
            violations.add(field(ZONE), format!("{ZONE} label should have {name} value"));
        }
        if labels.get(MESH).is_some_and(|label| label != mesh) {
            violations.add(field(MESH), format!("{MESH} label must not differ from mesh set on resource"));
        }
    }
    if let Some(role) = labels.get(POLICY_ROLE).filter(|role| kind.is_policy && *role != "system") {
        violations.add(field(POLICY_ROLE), format!("{POLICY_ROLE} label should have system value, got {role}"));
    }
    violations.append(check_syntax(labels));
    violations
}

/// Whether this side may write or delete a resource with these labels.
pub fn check_writable_origin(kind: Kind, labels: &Labels, site: &Site) -> Violations {
    let mut violations = Violations::new();
    let origin = labels.get(ORIGIN).map(String::as_str);
    match site {
        Site::Global if origin.is_some_and(|origin| origin != ORIGIN_GLOBAL) => {
            violations.add(field(ORIGIN), "the origin label must be set to 'global'");
        }
        Site::Zone { federated: true, .. } if kind.form == Form::Spec && origin != Some(ORIGIN_ZONE) => {
            violations.add(field(ORIGIN), "the origin label must be set to 'zone'");
        }
        Site::Global | Site::Zone { .. } => {}
    }
    violations
}

/// What an update may not change: the zone of a resource. Both sets are computed ones.
pub fn check_update(old: &Labels, new: &Labels) -> Violations {
    let mut violations = Violations::new();
    if let Some(old) = old.get(ZONE) {
        match new.get(ZONE) {
            None => violations.add(field(ZONE), format!("is immutable, cannot be removed (was {old:?})")),
            Some(new) if new != old => {
                violations.add(field(ZONE), format!("is immutable, cannot be changed from {old:?} to {new:?}"));
            }
            Some(_) => {}
        }
    }
    violations
}

/// What is wrong with the workload label of a Universal Dataplane.
pub fn check_workload(labels: &Labels, site: &Site) -> Violations {
    let mut violations = Violations::new();
    if let Some(workload) = labels.get(WORKLOAD).filter(|workload| !workload.is_empty()) {
        let messages = dns_1035_label(workload);
        if *site == Site::Global {
            violations.add(field(WORKLOAD), "not allowed on Global control plane");
        } else if !messages.is_empty() {
            violations.add(
                field(WORKLOAD),
                format!(
                    "must be a valid DNS-1035 label (at most 63 characters, matching regex [a-z]([-a-z0-9]*[a-z0-9])?): {}",
                    messages.join("; ")
                ),
            );
        }
    }
    violations
}

const KEY_CHARACTERS: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_CHARACTERS: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const PART_LEN_MAX: usize = 63;

fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// What is wrong with the keys and values of labels, by Kubernetes' rules.
pub fn check_syntax(labels: &Labels) -> Violations {
    let mut violations = Violations::new();
    for (key, value) in labels {
        for message in key_faults(key).into_iter().chain(value_faults(value)) {
            violations.add(field(key), message);
        }
    }
    violations
}

/// What is wrong with a label's key.
pub fn key_faults(key: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty".to_owned());
            } else {
                messages.extend(dns_1123_subdomain(prefix).into_iter().map(|message| format!("prefix part {message}")));
            }
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {KEY_CHARACTERS} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        messages.push("name part must be non-empty".to_owned());
    } else if name.len() > PART_LEN_MAX {
        messages.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_label_text(name) {
        messages.push(format!("name part {KEY_CHARACTERS}"));
    }
    messages
}

/// What is wrong with a label's value.
pub fn value_faults(value: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if value.len() > PART_LEN_MAX {
        messages.push("must be no more than 63 characters".to_owned());
    }
    if !value.is_empty() && !is_label_text(value) {
        messages.push(VALUE_CHARACTERS.to_owned());
    }
    messages
}

#[cfg(test)]
mod tests;
