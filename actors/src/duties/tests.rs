//! What the duties make of a mesh.

use std::sync::Arc;

use model::kinds::dataplane_insight::DataplaneInsight;
use model::kinds::mesh_identity::{MeshIdentity, MeshIdentityStatus};
use model::kinds::mesh_service::{MeshService, MeshServiceStatus, ServiceState, TlsStatus};
use model::kinds::mesh_trust::MeshTrust;
use model::registry::{
    DATAPLANE, DATAPLANE_INSIGHT, HOSTNAME_GENERATOR, MESH, MESH_IDENTITY, MESH_SERVICE, MESH_TRUST, SECRET, WORKLOAD,
};
use model::{Key, Kind, Labels, Resource, Spec, Timestamp};
use serde_json::{Value, json};
use store::{Event, KindFilter, MemoryStore, State, Store, Txn};
use tokio_util::sync::CancellationToken;

use super::{DutySettings, Focus, Index, Memory, Pass, keep_all, run};

mod incremental;

struct World {
    store: Arc<MemoryStore>,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    /// A zone with a mesh and the default hostname generator, in which duties run.
    fn new(settings: DutySettings) -> Self {
        let world = Self { store: Arc::new(MemoryStore::new()), stop: CancellationToken::new() };
        world.put(MESH, "", "default", &[], json!({}));
        world.put(
            HOSTNAME_GENERATOR,
            "",
            "local",
            &[("kuma.io/origin", "zone")],
            json!({"selector": {"meshService": {"matchLabels": {"kuma.io/origin": "zone"}}},
                   "template": "{{ .DisplayName }}.svc.mesh.local"}),
        );
        tokio::spawn(run(world.store.clone(), settings, world.stop.clone()));
        world
    }

    fn put(&self, kind: Kind, mesh: &str, name: &str, labels: &[(&str, &str)], spec: Value) {
        let labels: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let spec: Spec = kind.codec.admit(spec).unwrap();
        let txn = Txn::new().put(Key::new(kind, mesh, name), labels, spec);
        self.store.commit_at(&txn, Timestamp::now()).unwrap();
    }

    fn dataplane(&self, name: &str, workload: &str, inbounds: Value) {
        let labels = [("kuma.io/workload", workload), ("kuma.io/origin", "zone"), ("team", workload)];
        self.put(
            DATAPLANE,
            "default",
            name,
            &labels,
            json!({"networking": {"address": "10.0.0.1", "inbound": inbounds}}),
        );
    }

    fn delete(&self, kind: Kind, name: &str) {
        self.store.commit_at(&Txn::new().delete(Key::new(kind, "default", name)), Timestamp::now()).unwrap();
    }

    /// Waits until a resource is as `expected`.
    async fn until(&self, kind: Kind, name: &str, expected: impl Fn(&Resource) -> bool) -> Arc<Resource> {
        let key = Key::new(kind, "default", name);
        let mut watch = self.store.watch(None, KindFilter::All);
        let found = async {
            loop {
                if let Some(resource) = self.store.snapshot().get(&key).filter(|r| expected(r)) {
                    return Arc::clone(resource);
                }
                watch.next().await.unwrap();
            }
        };
        let late = std::time::Duration::from_secs(10);
        match tokio::time::timeout(late, found).await {
            Ok(found) => found,
            Err(_) => panic!("{key} is {:?}", self.store.snapshot().get(&key)),
        }
    }
}

fn http_port(port: u16) -> Value {
    json!([{"port": port, "protocol": "http", "name": "main"}])
}

#[tokio::test]
async fn a_dataplane_brings_its_service_address_hostname_and_workload_in_one_revision() {
    let world = World::new(DutySettings::default());
    let mut watch = world.store.watch(Some(world.store.snapshot().revision()), KindFilter::Only(vec![MESH_SERVICE]));
    world.dataplane("web-1", "web", http_port(8080));
    let Some(Event::Batch(first)) = watch.next().await else { panic!("no batch") };
    let service = world.until(MESH_SERVICE, "web", |_| true).await;
    assert_eq!(service.meta.version, first.revision.0);
    let spec = service.spec::<MeshService>().unwrap();
    assert_eq!(spec.state, ServiceState::Available);
    assert_eq!(spec.ports[0].section_name(), "main");
    let status = service.status::<MeshServiceStatus>().unwrap();
    assert_eq!(status.vips[0].ip, "241.0.0.0");
    assert_eq!(status.addresses[0].hostname, "web.svc.mesh.local");
    assert_eq!(status.dataplane_proxies.total, 1);
    assert_eq!(status.tls.status, Some(TlsStatus::NotReady));
    world.until(WORKLOAD, "web", |r| r.status.is_some()).await;
}

#[tokio::test]
async fn a_port_change_keeps_the_address() {
    let world = World::new(DutySettings::default());
    world.dataplane("web-1", "web", http_port(8080));
    world.until(MESH_SERVICE, "web", |r| r.status.is_some()).await;
    world.dataplane("web-1", "web", http_port(9090));
    let port = |r: &Resource| r.spec::<MeshService>().unwrap().ports[0].port;
    let service = world.until(MESH_SERVICE, "web", |r| port(r) == 9090).await;
    assert_eq!(service.status::<MeshServiceStatus>().unwrap().vips[0].ip, "241.0.0.0");
}

#[tokio::test]
async fn a_service_without_dataplanes_waits_for_the_grace_period() {
    let grace = "kuma.io/deletion-grace-period-started-at";
    let world = World::new(DutySettings::default());
    world.dataplane("web-1", "web", http_port(8080));
    world.until(MESH_SERVICE, "web", |r| r.status.is_some()).await;
    world.delete(DATAPLANE, "web-1");
    world.until(MESH_SERVICE, "web", |r| r.label(grace).is_some()).await;
    world.dataplane("web-2", "web", http_port(8080));
    let back = world.until(MESH_SERVICE, "web", |r| r.label(grace).is_none()).await;
    assert_eq!(back.status::<MeshServiceStatus>().unwrap().vips[0].ip, "241.0.0.0");
}

#[tokio::test]
async fn a_service_is_deleted_when_its_grace_period_is_over() {
    let settings = DutySettings { deletion_grace_period: std::time::Duration::ZERO, ..DutySettings::default() };
    let world = World::new(settings);
    world.dataplane("web-1", "web", http_port(8080));
    world.until(MESH_SERVICE, "web", |r| r.status.is_some()).await;
    world.delete(DATAPLANE, "web-1");
    let mut watch = world.store.watch(None, KindFilter::All);
    while world.store.snapshot().count(MESH_SERVICE) > 0 {
        watch.next().await.unwrap();
    }
}

#[tokio::test]
async fn services_that_others_made_are_left_alone() {
    let world = World::new(DutySettings::default());
    world.put(MESH_SERVICE, "default", "web", &[("kuma.io/origin", "zone")], json!({"ports": [{"port": 1}]}));
    world.dataplane("web-1", "web", http_port(8080));
    world.until(WORKLOAD, "web", |_| true).await;
    let service = world.until(MESH_SERVICE, "web", |r| r.status.is_some()).await;
    assert_eq!(service.spec::<MeshService>().unwrap().ports[0].port, 1);
}

#[tokio::test]
async fn an_identity_gets_its_authority_and_its_trust_and_services_their_names() {
    let world = World::new(DutySettings::default());
    world.dataplane("web-1", "web", http_port(8080));
    world.put(
        MESH_IDENTITY,
        "default",
        "main",
        &[("kuma.io/origin", "zone")],
        json!({"selector": {"dataplane": {"matchLabels": {}}},
               "provider": {"type": "Bundled", "bundled": {"autogenerate": {"enabled": true},
                                                            "insecureAllowSelfSigned": true}}}),
    );
    let ready = |r: &Resource| r.status::<MeshIdentityStatus>().and_then(|s| s.condition("Ready")).is_some();
    let identity = world.until(MESH_IDENTITY, "main", ready).await;
    assert!(identity.spec::<MeshIdentity>().is_some());
    let trust = world.until(MESH_TRUST, "main", |_| true).await;
    assert_eq!(trust.spec::<MeshTrust>().unwrap().trust_domain, "default.default.mesh.local");
    assert_eq!(trust.spec::<MeshTrust>().unwrap().ca_bundles.len(), 1);
    let tls = |r: &Resource| r.status::<MeshServiceStatus>().is_some_and(|s| s.tls.status == Some(TlsStatus::Ready));
    let service = world.until(MESH_SERVICE, "web", tls).await;
    let spec = service.spec::<MeshService>().unwrap();
    assert_eq!(spec.identities[0].value, "spiffe://default.default.mesh.local/workload/web");

    world.delete(MESH_IDENTITY, "main");
    let mut watch = world.store.watch(None, KindFilter::All);
    while world.store.snapshot().count(SECRET) > 0 {
        watch.next().await.unwrap();
    }
    assert_eq!(world.store.snapshot().count(MESH_TRUST), 1);
}

#[tokio::test]
async fn an_authority_that_may_not_sign_itself_is_reported() {
    let world = World::new(DutySettings::default());
    let provider = json!({"type": "Bundled", "bundled": {"autogenerate": {"enabled": true}}});
    let spec = json!({"selector": {"dataplane": {"matchLabels": {}}}, "provider": provider});
    world.put(MESH_IDENTITY, "default", "main", &[], spec);
    let identity = world.until(MESH_IDENTITY, "main", |r| r.status.is_some()).await;
    let provider = identity.status::<MeshIdentityStatus>().unwrap().condition("Provider").unwrap().clone();
    assert_eq!(provider.message, "self-signed certificates are not allowed");
    assert_eq!(world.store.snapshot().count(SECRET), 0);
}

#[tokio::test]
async fn two_services_never_share_a_hostname() {
    let world = World::new(DutySettings::default());
    let labels = [("kuma.io/origin", "zone"), ("kuma.io/display-name", "same")];
    world.put(MESH_SERVICE, "default", "a", &labels, json!({"ports": [{"port": 1}]}));
    world.put(MESH_SERVICE, "default", "b", &labels, json!({"ports": [{"port": 1}]}));
    let first = world.until(MESH_SERVICE, "a", |r| r.status.is_some()).await;
    let second = world.until(MESH_SERVICE, "b", |r| r.status.is_some()).await;
    assert_eq!(first.status::<MeshServiceStatus>().unwrap().addresses.len(), 1);
    let second = second.status::<MeshServiceStatus>().unwrap();
    assert!(second.addresses.is_empty());
    let condition = &second.hostname_generators[0].conditions[0];
    assert_eq!(
        (condition.reason.as_str(), condition.message.as_str()),
        ("Collision", "Hostname collision with MeshService: b")
    );
}

#[test]
fn subscriptions_of_a_control_plane_are_closed_together_when_none_moves() {
    let settings = DutySettings::default();
    let subscription = |instance: &str, generation: u32| json!({"id": "s", "controlPlaneInstanceId": instance, "connectTime": "2020-01-01T00:00:00Z", "generation": generation});
    let mut state = State::new();
    let put = |state: &mut State, name: &str, instance: &str, generation: u32| {
        let spec =
            DATAPLANE_INSIGHT.codec.admit(json!({"subscriptions": [subscription(instance, generation)]})).unwrap();
        let txn = Txn::new().put(Key::new(DATAPLANE_INSIGHT, "default", name), Labels::new(), spec);
        state.apply(&txn, Timestamp::UNIX_EPOCH, 1).unwrap();
    };
    for (name, instance) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")] {
        put(&mut state, name, instance, 0);
    }
    let mut memory = Memory::default();
    let mut pass = |state: &mut State, second: i64| {
        let mut focus = Focus::default();
        let index = Index::of(state, &settings, &mut focus);
        let now = Timestamp::from_second(second).unwrap();
        let mut pass = Pass::new(Arc::new(state.clone()), index, Focus::default(), now);
        keep_all(&mut pass, true, &settings, &mut memory);
        let online = |r: &&Arc<Resource>| r.spec::<DataplaneInsight>().is_some_and(DataplaneInsight::is_online);
        *state = pass.state().clone();
        state.of_kind(DATAPLANE_INSIGHT).filter(online).map(|r| r.key.name.to_string()).collect::<Vec<_>>()
    };
    let start = 1_600_000_000;
    assert_eq!(pass(&mut state, start), ["a1", "a2", "b1", "b2"]);
    // One subscription of the first moves, none of the second.
    put(&mut state, "a1", "a", 1);
    assert_eq!(pass(&mut state, start + 200), ["a1", "a2", "b1", "b2"]);
    assert_eq!(pass(&mut state, start + 301), ["a1", "a2"]);
    assert_eq!(pass(&mut state, start + 501), [""; 0]);
}
