//! What building, folding and generating cost: `cargo run --release -p xds --example cost`.
//!
//! Proxies with redirected traffic that may call every service, and an identity and a trust for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Change, Key, Labels, Meta, Resource, Scope, Timestamp, registry};
use serde_json::{Value, json};
use xds::bootstrap::ProxyMetadata;
use xds::{IdentitySource, Memo, MeshView, ProxyInputs, Touched, ViewSettings, WorkloadIdentity, generate};

const MESH: &str = "default";

fn resource(document: &Value) -> Arc<Resource> {
    let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
    let kind = registry::by_name(&text("type")).expect("a kind");
    let mesh = if kind.scope == Scope::Mesh { MESH } else { "" };
    let labels: Labels = serde_json::from_value(document["labels"].clone()).unwrap_or_default();
    let spec = kind.codec.admit(document["spec"].clone()).expect("a spec");
    let status = document.get("status").map(|status| (kind.codec.decode_status)(status.clone()).expect("a status"));
    let meta = Meta { labels, ..Meta::new(Timestamp::UNIX_EPOCH) };
    Arc::new(Resource { key: Key::new(kind, mesh, &text("name")), meta, spec, status })
}

fn dataplane(index: usize, services: usize, last_byte: usize) -> Value {
    let service = format!("svc-{}", index % services);
    json!({
        "type": "Dataplane", "name": format!("dp-{index}"),
        "labels": {"kuma.io/workload": service, "kuma.io/zone": "default", "app": service},
        "spec": {"networking": {
            "address": format!("10.{}.{}.{last_byte}", index / 250, index % 250),
            "inbound": [{"port": 8080, "name": "main", "protocol": "http"}],
            "transparentProxying": {"redirectPortInbound": 15006, "redirectPortOutbound": 15001},
        }},
    })
}

fn service(index: usize) -> Value {
    let name = format!("svc-{index}");
    json!({
        "type": "MeshService", "name": name, "labels": {"kuma.io/display-name": name, "kuma.io/zone": "default"},
        "spec": {
            "selector": {"dataplaneLabels": {"matchLabels": {"app": name}}},
            "ports": [{"port": 80, "name": "http", "targetPort": 8080, "appProtocol": "http"}],
            "identities": [{"type": "SpiffeID", "value": format!("spiffe://default.default.mesh.local/workload/{name}")}],
            "state": "Available",
        },
        "status": {
            "vips": [{"ip": format!("241.0.{}.{}", index / 250, index % 250 + 1)}],
            "addresses": [{"hostname": format!("{name}.svc.mesh.local")}],
            "tls": {"status": "Ready"},
        },
    })
}

fn timeout(value: &str) -> Value {
    json!({"type": "MeshTimeout", "name": "all", "spec": {"to": [{
        "targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": value},
    }]}})
}

fn change(document: &Value) -> Change {
    let after = resource(document);
    Change { key: after.key.clone(), before: None, after: Some(after) }
}

struct Fleet(Vec<(ProxyInputs, Memo)>);

impl Fleet {
    fn generate(&mut self, view: &MeshView, touched: &Touched) -> (usize, Duration) {
        let started = Instant::now();
        let mut count = 0;
        for (inputs, memo) in self.0.iter_mut().filter(|(inputs, _)| touched.contains(&inputs.dataplane)) {
            generate(view, inputs, memo).expect("its dataplane is there");
            count += 1;
        }
        (count, started.elapsed())
    }
}

/// All resources of the mesh; the second is the identity.
fn documents(proxies: usize, services: usize) -> Vec<Value> {
    let mut documents = vec![
        json!({"type": "Mesh", "name": MESH, "spec": {}}),
        json!({"type": "MeshIdentity", "name": "identity", "spec": {
            "selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled", "bundled": {}},
        }}),
        json!({"type": "MeshTrust", "name": "identity", "spec": {
            "trustDomain": "default.default.mesh.local", "caBundles": [{"type": "Pem", "pem": {"value": "ca"}}],
        }}),
        timeout("5s"),
    ];
    documents.extend((0..services).map(service));
    documents.extend((0..proxies).map(|index| dataplane(index, services, 1)));
    documents
}

fn fleet(proxies: usize, services: usize, identity: &Resource) -> Fleet {
    let metadata =
        Arc::new(ProxyMetadata { admin_port: 9901, readiness_port: 9902, dns_port: 15053, ..Default::default() });
    let proxy = |index| {
        let mut inputs = ProxyInputs::new(&format!("dp-{index}"), Arc::clone(&metadata));
        inputs.identity = Some(Arc::new(WorkloadIdentity {
            mesh_identity: model::Kri::of(identity),
            spiffe_id: format!("spiffe://default.default.mesh.local/workload/svc-{}", index % services),
            source: IdentitySource::Issued { chain_pem: vec![b'c'; 1200], key_pem: vec![b'k'; 240] },
        }));
        (inputs, Memo::default())
    };
    Fleet((0..proxies).map(proxy).collect())
}

/// What may happen to a mesh, one after the other.
fn steps(services: usize) -> [(&'static str, Value); 5] {
    [
        ("endpoint moves", dataplane(1, services, 2)),
        ("endpoint moves again", dataplane(1, services, 3)),
        ("service is added", service(services)),
        ("policy for all changes", timeout("6s")),
        (
            "policy for one dataplane",
            json!({"type": "MeshTLS", "name": "one", "spec": {
                "targetRef": {"kind": "Dataplane", "labels": {"app": "svc-1"}}, "rules": [{"default": {"mode": "Permissive"}}],
            }}),
        ),
    ]
}

fn run(proxies: usize, services: usize) {
    println!("{proxies} proxies, {services} services");
    let resources: Vec<_> = documents(proxies, services).iter().map(resource).collect();
    let started = Instant::now();
    let mut view = MeshView::build(MESH, &resources, &Arc::new(ViewSettings::default()));
    println!("{:28} {:9.1} ms", "build", started.elapsed().as_secs_f64() * 1e3);
    let mut fleet = fleet(proxies, services, &resources[1]);
    let first = fleet.generate(&view, &Touched::All);
    println!(
        "{:28} {:9.1} ms ({:.1} µs each) {:?}",
        "first configuration",
        first.1.as_secs_f64() * 1e3,
        first.1.as_secs_f64() * 1e6 / proxies as f64,
        view.counters(),
    );
    for (what, document) in steps(services) {
        let changes = [change(&document)];
        let before = view.counters();
        let started = Instant::now();
        let (next, touched) = view.fold(&changes);
        let fold = started.elapsed();
        let generated = fleet.generate(&next, &touched);
        let after = next.counters();
        println!(
            "{what:28} fold {:9.1} µs, {} proxies {:9.1} µs ({:6.2} µs each); encoded {} clusters, {} endpoint sets, {} listeners",
            fold.as_secs_f64() * 1e6,
            generated.0,
            generated.1.as_secs_f64() * 1e6,
            generated.1.as_secs_f64() * 1e6 / generated.0.max(1) as f64,
            after.encoded_clusters - before.encoded_clusters,
            after.encoded_endpoints - before.encoded_endpoints,
            after.encoded_listeners - before.encoded_listeners,
        );
        view = next;
    }
}

fn main() {
    run(1000, 100);
    run(1000, 1000);
}
