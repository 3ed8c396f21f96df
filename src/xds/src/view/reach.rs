//! What a dataplane names as its destinations.

use model::kinds::dataplane::{Dataplane, OutboundRef, ReachableBackendRef};
use model::{Kind, Labels, registry};

/// Label with the name that its owner gave a resource.
const DISPLAY_NAME: &str = "kuma.io/display-name";
/// Label with the namespace of a resource on Kubernetes.
const NAMESPACE: &str = "k8s.kuma.io/namespace";

/// A reference to destinations of a kind that have certain labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachRef {
    /// Their kind.
    pub kind: Kind,
    /// The labels that they have.
    pub labels: Labels,
    /// One of their ports, by name or number; `None` for all.
    pub section: Option<String>,
}

/// The destinations that a dataplane may call, as far as its own spec says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// All of them, unless its proxy neither redirects traffic nor binds every outbound.
    pub all: bool,
    /// Those that it names.
    pub refs: Vec<ReachRef>,
}

impl Reach {
    /// What a dataplane with these labels may call.
    pub(super) fn of(spec: &Dataplane, labels: &Labels) -> Self {
        let Some(networking) = &spec.networking else { return Self::default() };
        let outbounds = networking.outbound.iter().filter_map(|outbound| outbound.backend_ref.as_ref());
        let outbounds: Vec<_> = outbounds.filter_map(|backend| of_outbound(backend, labels)).collect();
        let Some(redirection) = &networking.transparent_proxying else {
            return Self { all: true, refs: outbounds };
        };
        if !outbounds.is_empty() {
            return Self { all: false, refs: outbounds };
        }
        match &redirection.reachable_backends {
            None => Self { all: true, refs: Vec::new() },
            Some(reachable) => Self { all: false, refs: reachable.refs.iter().filter_map(of_reachable).collect() },
        }
    }
}

fn destination_kind(name: &str) -> Option<Kind> {
    registry::by_name(name).filter(|kind| kind.is_destination)
}

/// What an outbound of a dataplane with these labels refers to.
pub(crate) fn of_outbound(backend: &OutboundRef, dataplane: &Labels) -> Option<ReachRef> {
    let kind = destination_kind(&backend.kind)?;
    let section = (backend.port > 0).then(|| backend.port.to_string());
    if !backend.labels.is_empty() {
        return Some(ReachRef { kind, labels: backend.labels.clone(), section });
    }
    if let Some((name, namespace, port)) = legacy_name(&backend.name) {
        let labels = named(name, Some(namespace));
        return Some(ReachRef { kind, labels, section: Some(port.to_owned()) });
    }
    let labels = named(&backend.name, dataplane.get(NAMESPACE).map(String::as_str));
    Some(ReachRef { kind, labels, section })
}

fn of_reachable(backend: &ReachableBackendRef) -> Option<ReachRef> {
    let kind = destination_kind(&backend.kind)?;
    let section = backend.port.filter(|port| *port > 0).map(|port| port.to_string());
    let labels = if backend.labels.is_empty() {
        named(&backend.name, Some(&backend.namespace).filter(|n| !n.is_empty()).map(String::as_str))
    } else {
        backend.labels.clone()
    };
    Some(ReachRef { kind, labels, section })
}

fn named(name: &str, namespace: Option<&str>) -> Labels {
    let mut labels = Labels::from([(DISPLAY_NAME.to_owned(), name.to_owned())]);
    if let Some(namespace) = namespace {
        labels.insert(NAMESPACE.to_owned(), namespace.to_owned());
    }
    labels
}

/// The parts of a name in the form `name_namespace_svc_port`.
fn legacy_name(text: &str) -> Option<(&str, &str, &str)> {
    let mut parts = text.split('_');
    let (name, namespace, svc, port) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (svc == "svc" && parts.next().is_none()).then_some((name, namespace, port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reach(networking: serde_json::Value) -> Reach {
        let spec: Dataplane = serde_json::from_value(json!({ "networking": networking })).unwrap();
        Reach::of(&spec, &Labels::from([(NAMESPACE.to_owned(), "shop".to_owned())]))
    }

    #[test]
    fn absent_reachable_backends_mean_all_and_empty_ones_none() {
        assert!(reach(json!({"transparentProxying": {}})).all);
        let none = reach(json!({"transparentProxying": {"reachableBackends": {}}}));
        assert_eq!(none, Reach::default());
    }

    #[test]
    fn outbounds_count_before_reachable_backends() {
        let reach = reach(json!({
            "outbound": [{"port": 1, "backendRef": {"kind": "MeshService", "name": "api", "port": 80}}],
            "transparentProxying": {"reachableBackends": {"refs": [{"kind": "MeshService", "name": "db"}]}},
        }));
        let labels = named("api", Some("shop"));
        let api = ReachRef { kind: registry::MESH_SERVICE, labels, section: Some("80".to_owned()) };
        assert_eq!(reach, Reach { all: false, refs: vec![api] });
    }

    #[test]
    fn names_of_the_old_form_are_split() {
        let backend = OutboundRef { kind: "MeshService".into(), name: "a_ns_svc_80".into(), ..Default::default() };
        let reference = of_outbound(&backend, &Labels::new()).unwrap();
        assert_eq!((reference.labels, reference.section.as_deref()), (named("a", Some("ns")), Some("80")));
    }
}
