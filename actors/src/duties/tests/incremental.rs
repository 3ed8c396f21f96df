//! A pass over what changed does what a pass over everything does.

use std::sync::Arc;
use std::time::Duration;

use model::registry::{
    DATAPLANE, DATAPLANE_INSIGHT, HOSTNAME_GENERATOR, MESH, MESH_EXTERNAL_SERVICE, MESH_IDENTITY,
    MESH_MULTI_ZONE_SERVICE, MESH_SERVICE, MESH_TRUST, WORKLOAD,
};
use model::{Key, Kind, Labels, Resource, Spec, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{State, Txn};

use crate::duties::runner::Followed;
use crate::duties::settings::LabelPropagation;
use crate::duties::{DutySettings, Focus, Index, Memory, Pass, keep_all};

/// One thing that somebody does to a zone.
#[derive(Clone, Debug)]
enum Step {
    Put {
        kind: Kind,
        mesh: &'static str,
        name: String,
        labels: Labels,
        spec: Value,
    },
    Delete {
        kind: Kind,
        mesh: &'static str,
        name: String,
    },
    /// Nothing, for so many seconds.
    Wait(i64),
}

/// Stands for the time of the step in a spec.
const NOW: &str = "2000-01-01T00:00:00Z";

fn settings() -> DutySettings {
    DutySettings {
        label_propagation: Some(LabelPropagation::default()),
        deletion_grace_period: Duration::from_secs(60),
        dataplane_idle_timeout: Duration::from_secs(90),
        dataplane_cleanup_age: Duration::from_secs(120),
        mesh_service_cidr: "241.0.0.0/29".parse().unwrap(),
        ..DutySettings::default()
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn of(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(names)
}

fn mesh() -> impl Strategy<Value = &'static str> {
    of(&["one", "two"])
}

fn name() -> impl Strategy<Value = String> {
    of(&["a", "b", "c", "d"]).prop_map(str::to_owned)
}

fn put(kind: Kind, mesh: &'static str, name: String, labels: Labels, spec: Value) -> Step {
    Step::Put { kind, mesh, name, labels, spec }
}

fn dataplane() -> impl Strategy<Value = Step> {
    let workloads = of(&["", "a", "b", "x", "Not-A-Name"]);
    (mesh(), name(), workloads, of(&["", "red", "blue"]), 0_usize..3, of(&["Ready", "NotReady"])).prop_map(
        |(mesh, name, workload, team, inbounds, state)| {
            let inbound = |number: usize| json!({"port": 80 + number, "name": format!("p{number}"), "state": state});
            let inbounds: Vec<_> = (0..inbounds).map(inbound).collect();
            let labels = labels(&[("kuma.io/workload", workload), ("team", team), ("kuma.io/origin", "zone")]);
            let spec = json!({"networking": {"address": "10.0.0.1", "inbound": inbounds}});
            put(DATAPLANE, mesh, name, labels, spec)
        },
    )
}

fn insight() -> impl Strategy<Value = Step> {
    (mesh(), name(), any::<bool>(), 0_u32..2).prop_map(|(mesh, name, online, generation)| {
        let mut subscription =
            json!({"id": "s", "connectTime": "2020-01-01T00:00:00Z", "status": {}, "generation": generation});
        if !online {
            subscription["disconnectTime"] = json!(NOW);
        }
        put(DATAPLANE_INSIGHT, mesh, name, Labels::new(), json!({"subscriptions": [subscription]}))
    })
}

fn service() -> impl Strategy<Value = Step> {
    let selector = prop::sample::select(vec![
        json!({"dataplaneLabels": {"matchLabels": {"team": "red"}}}),
        json!({"dataplaneLabels": {"matchLabels": {"team": "blue", "kuma.io/workload": "a"}}}),
        json!({"dataplaneLabels": {}}),
        json!({"dataplaneRef": {"name": "a"}}),
        json!({}),
    ]);
    let display = of(&["", "same", "b"]);
    (mesh(), of(&["a", "b", "own", "other"]), selector, display, of(&["zone", "global"])).prop_map(
        |(mesh, name, selector, display, origin)| {
            let labels = labels(&[("kuma.io/display-name", display), ("kuma.io/origin", origin), ("team", "red")]);
            let ports = json!([{"port": 80, "targetPort": 80, "appProtocol": "http"}]);
            put(MESH_SERVICE, mesh, name.to_owned(), labels, json!({"selector": selector, "ports": ports}))
        },
    )
}

fn other() -> impl Strategy<Value = Step> {
    let destination = (mesh(), name(), of(&["same", "else"]), of(&["red", "blue"]), any::<bool>());
    let destination = destination.prop_map(|(mesh, name, display, team, external)| {
        let labels = labels(&[("kuma.io/display-name", display), ("kuma.io/origin", "zone")]);
        if external {
            let spec = json!({"match": {"type": "HostnameGenerator", "port": 80, "protocol": "http"}});
            put(MESH_EXTERNAL_SERVICE, mesh, name, labels, spec)
        } else {
            let spec = json!({"selector": {"meshService": {"matchLabels": {"team": team}}}, "ports": [{"port": 80}]});
            put(MESH_MULTI_ZONE_SERVICE, mesh, name, labels, spec)
        }
    });
    let generator = (name(), of(&["{{ .DisplayName }}.local", "{{ .Name }}.local", "{{ label \"team\" }}", "{{"]));
    let generator = generator.prop_map(|(name, template)| {
        let wanted = json!({"matchLabels": {"kuma.io/origin": "zone"}});
        let selector = if name == "a" { "meshExternalService" } else { "meshService" };
        put(HOSTNAME_GENERATOR, "", name, Labels::new(), json!({"selector": {selector: wanted}, "template": template}))
    });
    let identity = (mesh(), name(), of(&["", "red"]), any::<bool>()).prop_map(|(mesh, name, team, spire)| {
        let selector = json!({"dataplane": {"matchLabels": labels(&[("team", team)])}});
        let mut spec = json!({"selector": selector});
        if spire {
            spec["provider"] = json!({"type": "Spire"});
        }
        put(MESH_IDENTITY, mesh, name, Labels::new(), spec)
    });
    let trust = (mesh(), name(), of(&["one.default.mesh.local", "elsewhere"])).prop_map(|(mesh, name, domain)| {
        put(
            MESH_TRUST,
            mesh,
            name,
            Labels::new(),
            json!({"trustDomain": domain, "caBundles": [{"type": "Pem", "pem": {"value": "x"}}]}),
        )
    });
    prop_oneof![destination, generator, identity, trust]
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = prop::sample::select(vec![
        DATAPLANE,
        DATAPLANE,
        DATAPLANE_INSIGHT,
        MESH_SERVICE,
        MESH_EXTERNAL_SERVICE,
        MESH_MULTI_ZONE_SERVICE,
        MESH_IDENTITY,
        MESH_TRUST,
        HOSTNAME_GENERATOR,
        WORKLOAD,
    ]);
    let delete = (kinds, mesh(), name()).prop_map(|(kind, mesh, name)| Step::Delete { kind, mesh, name });
    prop_oneof![
        5 => dataplane(),
        3 => insight(),
        3 => service(),
        3 => other(),
        3 => delete,
        1 => (1_i64..100).prop_map(Step::Wait),
    ]
}

/// A zone in which duties are done step by step.
struct Zone {
    state: State,
    followed: Followed,
    memory: Memory,
    deadline: Option<Timestamp>,
    now: Timestamp,
}

impl Zone {
    fn new() -> Self {
        let mut state = State::new();
        let now = Timestamp::from_second(1_600_000_000).unwrap();
        for mesh in ["one", "two"] {
            let txn = Txn::new().put(Key::global(MESH, mesh), Labels::new(), MESH.codec.admit(json!({})).unwrap());
            state.apply(&txn, now, 1).unwrap();
        }
        let followed = Followed::anew(&state, &settings());
        Self { state, followed, memory: Memory::default(), deadline: None, now }
    }

    fn take(&mut self, step: &Step) {
        let seconds = if let Step::Wait(seconds) = step { *seconds } else { 1 };
        self.now = self.now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        let txn = match step {
            Step::Put { kind, mesh, name, labels, spec } => {
                let spec = spec.to_string().replace(NOW, &self.now.to_string());
                let spec: Spec = kind.codec.admit(serde_json::from_str(&spec).unwrap()).unwrap();
                let key = Key::new(*kind, mesh, name);
                if *kind == DATAPLANE_INSIGHT {
                    Txn::new().put_owned(key, labels.clone(), spec, Key::new(DATAPLANE, mesh, name))
                } else {
                    Txn::new().put(key, labels.clone(), spec)
                }
            }
            Step::Delete { kind, mesh, name } => Txn::new().delete(Key::new(*kind, mesh, name)),
            Step::Wait(_) => return,
        };
        // There is no insight without its Dataplane.
        drop(self.state.apply(&txn, self.now, 1));
    }

    /// What a pass writes, when the next one is due, what it remembers, and the state after it.
    fn pass(&self, index: Index, focus: Focus, timed: bool) -> (Txn, Option<Timestamp>, Memory, State) {
        let mut memory = self.memory.clone();
        let mut pass = Pass::new(Arc::new(self.state.clone()), index, focus, self.now);
        keep_all(&mut pass, timed, &settings(), &mut memory);
        let after = pass.state().clone();
        let (txn, deadline, _) = pass.finish(1);
        (txn, deadline, memory, after)
    }

    /// Does the duties until nothing is left to do; each pass over the changes is compared with one over
    /// everything, which also looks for what has died.
    fn keep(&mut self) {
        for _ in 0..10 {
            let timed = self.deadline.is_some_and(|deadline| deadline <= self.now);
            let followed = self.followed.clone().follow(&self.state, &settings());
            let (txn, next, memory, partly) = self.pass(followed.index.clone(), followed.focus, timed);
            let mut focus = Focus::default();
            let index = Index::of(&self.state, &settings(), &mut focus);
            let (_, _, _, whole) = self.pass(index, focus, true);
            assert_eq!(content(&partly), content(&whole));
            self.followed = Followed { focus: Focus::default(), index: followed.index, revision: followed.revision };
            self.memory = memory;
            self.deadline = self.deadline.filter(|_| !timed).into_iter().chain(next).min();
            if txn.is_empty() {
                return;
            }
            self.state.apply(&txn, self.now, 1).unwrap();
        }
        panic!("the duties never rest");
    }
}

/// What is in a state, without versions.
fn content(state: &State) -> Vec<(Key, Labels, Spec, Option<Spec>)> {
    let content = |r: &Arc<Resource>| (r.key.clone(), r.meta.labels.clone(), r.spec.clone(), r.status.clone());
    state.iter().map(content).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pass_over_changes_does_what_a_pass_over_everything_does(
        batches in prop::collection::vec(prop::collection::vec(step(), 1..4), 1..25)
    ) {
        let mut zone = Zone::new();
        for batch in &batches {
            batch.iter().for_each(|step| zone.take(step));
            zone.keep();
        }
    }
}
