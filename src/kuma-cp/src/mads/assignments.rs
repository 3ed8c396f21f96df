//! Whom a Prometheus scrapes.

use std::collections::BTreeSet;

use model::kinds::mesh_metric::{Conf, Prometheus, PrometheusTlsMode};
use model::labels::WORKLOAD;
use model::registry::MESH_METRIC;
use policy::Shadow;
use serde_json::{Value, json};
use xds::MeshView;
use xds::view::DataplaneEntry;

/// The client that is meant when none is named, and that unknown clients count as.
const DEFAULT_CLIENT: &str = "_kuma-default-client";
/// The type of an assignment.
const TYPE: &str = "type.googleapis.com/kuma.observability.v1.MonitoringAssignment";
const DEFAULT_PORT: u32 = 5670;
const DEFAULT_PATH: &str = "/metrics";

/// A dataplane that some client scrapes.
struct Assignment {
    client: String,
    document: Value,
}

/// What `client` scrapes in all meshes, by mesh and name. A client that no policy names is the default
/// one.
pub(super) fn of_client<'a>(views: impl Iterator<Item = &'a MeshView>, client: &str) -> Vec<Value> {
    let all: Vec<Assignment> = views.flat_map(of_mesh).collect();
    let known: BTreeSet<_> = all.iter().map(|assignment| assignment.client.as_str()).collect();
    let client = if known.contains(client) { client } else { DEFAULT_CLIENT };
    all.iter().filter(|assignment| assignment.client == client).map(|assignment| assignment.document.clone()).collect()
}

fn of_mesh(view: &MeshView) -> Vec<Assignment> {
    let Some(book) = view.policies().book(MESH_METRIC) else { return Vec::new() };
    let of = |entry: &std::sync::Arc<DataplaneEntry>| {
        let rules = book.rules(&entry.subject, Shadow::Excluded);
        // A conf that cannot be read is reported where proxies get it.
        let conf = rules.proxy.as_ref().and_then(|own| own.conf.typed::<Conf>().ok());
        let backends = conf.and_then(|conf| conf.backends.clone()).unwrap_or_default();
        let scraped = backends.into_iter().filter_map(|backend| backend.prometheus);
        scraped.map(|prometheus| assignment(view, entry, &prometheus)).collect::<Vec<_>>()
    };
    view.dataplanes().flat_map(of).collect()
}

fn assignment(view: &MeshView, entry: &DataplaneEntry, prometheus: &Prometheus) -> Assignment {
    let address = entry.spec.address();
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let port = if prometheus.port == 0 { DEFAULT_PORT } else { prometheus.port };
    let path = if prometheus.path.is_empty() { DEFAULT_PATH } else { &prometheus.path };
    let provides_tls = prometheus.tls.as_ref().is_some_and(|tls| tls.mode == Some(PrometheusTlsMode::ProvidedTls));
    let document = json!({
        "@type": TYPE,
        "mesh": &**view.mesh(),
        "service": entry.labels.get(WORKLOAD).map_or("unknown", String::as_str),
        "targets": [{
            "name": &**entry.name(),
            "scheme": if provides_tls { "https" } else { "http" },
            "address": format!("{host}:{port}"),
            "metrics_path": path,
        }],
    });
    let client = prometheus.client_id.clone().unwrap_or_else(|| DEFAULT_CLIENT.to_owned());
    Assignment { client, document }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::registry::{DATAPLANE, MESH};
    use model::{Key, Kind, Meta, Resource, Timestamp};
    use xds::ViewSettings;

    use super::*;

    fn resource(kind: Kind, mesh: &str, name: &str, labels: &[(&str, &str)], spec: Value) -> Arc<Resource> {
        let mut meta = Meta::new(Timestamp::UNIX_EPOCH);
        meta.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let spec = kind.codec.admit(spec).unwrap();
        Arc::new(Resource { key: Key::new(kind, mesh, name), meta, spec, status: None })
    }

    fn view() -> MeshView {
        let networking = json!({"networking": {"address": "10.0.0.1", "inbound": [{"port": 80}]}});
        let backends = json!([{"type": "Prometheus", "prometheus": {}},
            {"type": "Prometheus", "prometheus": {"clientId": "main", "port": 1234, "path": "/m",
                "tls": {"mode": "ProvidedTLS"}}}]);
        let policy = json!({"targetRef": {"kind": "Dataplane", "labels": {"app": "web"}},
            "default": {"backends": backends}});
        let resources = [
            resource(MESH, "", "default", &[], json!({})),
            resource(DATAPLANE, "default", "web-1", &[("app", "web"), (WORKLOAD, "web")], networking.clone()),
            resource(DATAPLANE, "default", "db-1", &[("app", "db")], networking),
            resource(MESH_METRIC, "default", "metrics", &[], policy),
        ];
        MeshView::build("default", &resources, &Arc::new(ViewSettings::default()))
    }

    #[test]
    fn clients_get_the_dataplanes_whose_policy_names_them() {
        let view = view();
        let default = of_client([&view].into_iter(), "somebody");
        assert_eq!(
            default,
            [json!({"@type": TYPE, "mesh": "default", "service": "web", "targets": [
                {"name": "web-1", "scheme": "http", "address": "10.0.0.1:5670", "metrics_path": "/metrics"}]})]
        );
        let main = of_client([&view].into_iter(), "main");
        assert_eq!(main[0]["targets"][0]["address"], "10.0.0.1:1234");
        assert_eq!(
            (&main[0]["targets"][0]["scheme"], &main[0]["targets"][0]["metrics_path"]),
            (&json!("https"), &json!("/m"))
        );
    }
}
