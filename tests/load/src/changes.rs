//! What is changed.

use serde_json::{Value, json};

use crate::measure::Goal;
use crate::proxy::{CLUSTER, ENDPOINT, LISTENER};
use crate::target::{MESH, address, dataplane, workload};

/// One write.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// A resource is put.
    Put(Value),
    /// The resource at this path is deleted.
    Delete(String),
}

/// Something that can be changed again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// The write of a round.
    pub(crate) write: fn(usize) -> Write,
    /// When a proxy has it: what is the last that it gets of it.
    pub(crate) goal: fn(usize) -> Goal,
}

/// A timeout on the inbounds of everybody.
pub(crate) const POLICY_ALL: Change = Change {
    write: |round| {
        Write::Put(json!({
            "type": "MeshTimeout", "mesh": MESH, "name": "load-all",
            "spec": {
                "targetRef": {"kind": "Mesh"},
                "rules": [{"default": {"http": {"requestTimeout": format!("{}s", 10 + round)}}}],
            },
        }))
    },
    goal: |_| Goal::Resource(LISTENER, "self_inbound_".to_owned()),
};

/// A timeout towards every destination, which changes all clusters and all routes.
pub(crate) const POLICY_OUTBOUNDS: Change = Change {
    write: |round| {
        let conf = json!({"connectionTimeout": format!("{}s", 10 + round), "http": {"requestTimeout": format!("{}s", 20 + round)}});
        Write::Put(json!({
            "type": "MeshTimeout", "mesh": MESH, "name": "load-outbounds",
            "spec": {"targetRef": {"kind": "Mesh"}, "to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]},
        }))
    },
    goal: |_| Goal::Resource(LISTENER, format!("_{}_", workload(0))),
};

/// A timeout on the inbounds of one service.
pub(crate) const POLICY_ONE: Change = Change {
    write: |round| {
        Write::Put(json!({
            "type": "MeshTimeout", "mesh": MESH, "name": "load-one",
            "spec": {
                "targetRef": {"kind": "Dataplane", "labels": {"kuma.io/workload": workload(3)}},
                "rules": [{"default": {"http": {"streamIdleTimeout": format!("{}s", 10 + round)}}}],
            },
        }))
    },
    goal: |_| Goal::Resource(LISTENER, "self_inbound_".to_owned()),
};

/// An endpoint of the first service that moves.
pub(crate) const ENDPOINT_MOVES: Change = Change {
    write: |round| Write::Put(dataplane("moving", 0, &address(200_000 + round), None)),
    goal: |_| Goal::Resource(ENDPOINT, format!("_{}_", workload(0))),
};

/// A service comes; its listener is the last thing that a proxy gets of it.
pub(crate) const SERVICE_ADDED: Change = Change {
    write: |round| {
        Write::Put(json!({
            "type": "MeshService", "mesh": MESH, "name": format!("added-{round}"),
            "spec": {
                "selector": {"dataplaneLabels": {"matchLabels": {"kuma.io/workload": workload(0)}}},
                "ports": [{"port": 80, "name": "http", "targetPort": 8080, "appProtocol": "http"}],
            },
        }))
    },
    goal: |round| Goal::Resource(LISTENER, format!("_added-{round}_")),
};

/// The same service goes; its cluster is the last thing that a proxy drops.
pub(crate) const SERVICE_REMOVED: Change = Change {
    write: |round| Write::Delete(format!("/meshes/{MESH}/meshservices/added-{round}")),
    goal: |round| Goal::Removal(CLUSTER, format!("_added-{round}_")),
};
