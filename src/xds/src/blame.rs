//! Who is to blame for a resource that a proxy refused: found by leaving stored resources out, one at
//! a time, and looking whether the proxy would still be sent the same.

use std::cmp::Reverse;
use std::sync::Arc;

use model::{Change, Key};

use crate::proxy::{Memo, ProxyInputs, generate};
use crate::proxy_config::{ContentHash, ResourceType};
use crate::view::MeshView;

/// How many stored resources are left out in turn, at most: each costs the generation of a proxy.
const TRIED_LEN_MAX: usize = 32;

/// The resource of a proxy that was refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// Its type.
    pub ty: ResourceType,
    /// Its name.
    pub name: &'a str,
}

/// Those of the resources that changed without which the proxy would not be sent what it refused. When
/// none of them makes that difference alone, those that are gone, or else all of them, are to blame.
pub fn among(view: &MeshView, inputs: &ProxyInputs, refused: Refused<'_>, changed: &[Key]) -> Vec<Key> {
    let mut tried: Vec<&Key> = changed.iter().collect();
    tried.sort_by_key(|key| !key.kind.is_policy);
    tried.truncate(TRIED_LEN_MAX);
    let with = version(view, inputs, refused);
    let mut found: Vec<Key> =
        tried.iter().filter(|key| differs(view, inputs, refused, with, key)).copied().cloned().collect();
    if found.is_empty() {
        found = tried.iter().filter(|key| view.resource(key).is_none()).copied().cloned().collect();
    }
    if found.is_empty() {
        found = tried.into_iter().cloned().collect();
    }
    found.sort();
    found
}

/// For when it is not known what changed: of all policies in force on the proxy that shape what it
/// refused, the one that was written last. Those before it shaped what proxies accepted.
pub fn latest(view: &MeshView, inputs: &ProxyInputs, refused: Refused<'_>) -> Option<Key> {
    let entry = view.dataplane(&inputs.dataplane)?;
    let policies = view.policies();
    let rules = policies.kinds().filter_map(|kind| Some(policies.book(kind)?.rules(&entry.subject, inputs.shadow)));
    let mut in_force: Vec<_> = rules.flat_map(|rules| rules.policies.to_vec()).collect();
    in_force.sort_by_key(|policy| Reverse(policy.resource.meta.version));
    let with = version(view, inputs, refused);
    let mut tried = in_force.iter().take(TRIED_LEN_MAX).map(|policy| &policy.resource.key);
    tried.find(|key| differs(view, inputs, refused, with, key)).cloned()
}

/// Whether the proxy would be sent something else if the stored resource were not there.
fn differs(view: &MeshView, inputs: &ProxyInputs, refused: Refused<'_>, with: Option<ContentHash>, key: &Key) -> bool {
    let Some(stored) = view.resource(key) else { return false };
    let deletion = Change { key: key.clone(), before: Some(Arc::clone(stored)), after: None };
    let (without, _) = view.fold(&[deletion]);
    version(&without, inputs, refused) != with
}

fn version(view: &MeshView, inputs: &ProxyInputs, refused: Refused<'_>) -> Option<ContentHash> {
    let config = generate(view, inputs, &mut Memo::default())?;
    Some(config.get(refused.ty, refused.name)?.version)
}

#[cfg(test)]
mod tests {
    use model::registry;
    use serde_json::{Value, json};

    use super::*;
    use crate::world::{MESH, World, dataplane, service};

    const ADDED: Refused<'_> = Refused { ty: ResourceType::Cluster, name: "added" };
    const BACKEND: Refused<'_> = Refused { ty: ResourceType::Cluster, name: "kri_msvc_m_east__backend_http" };

    fn patch(name: &str, cluster: &str) -> Value {
        let value = json!({"name": cluster, "type": "STATIC", "connectTimeout": "1s"}).to_string();
        json!({"type": "MeshProxyPatch", "name": name, "spec": {"default": {"appendModifications": [
            {"cluster": {"operation": "Add", "value": value}}]}}})
    }

    fn timeout(name: &str, value: &str) -> Value {
        json!({"type": "MeshTimeout", "name": name, "spec": {"to": [
            {"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": value}}]}})
    }

    fn world(policies: &[Value]) -> (World, ProxyInputs) {
        let mesh = [
            dataplane("web", "10.0.0.1"),
            dataplane("backend", "10.0.0.2"),
            service("backend", "backend", "241.0.0.1"),
        ];
        let mut world = World::new(&[&mesh[..], policies].concat());
        world.config("web");
        let inputs = world.inputs("web").clone();
        (world, inputs)
    }

    fn key(kind: model::Kind, name: &str) -> Key {
        Key::new(kind, MESH, name)
    }

    fn names(keys: &[Key]) -> Vec<&str> {
        keys.iter().map(|key| &*key.name).collect()
    }

    #[test]
    fn of_what_changed_only_what_shapes_the_resource_is_to_blame() {
        let (world, inputs) = world(&[patch("p", "added"), timeout("t", "1s")]);
        let changed = [
            key(registry::MESH_TIMEOUT, "t"),
            key(registry::MESH_PROXY_PATCH, "p"),
            key(registry::MESH_SERVICE, "backend"),
        ];
        assert_eq!(names(&among(&world.view, &inputs, ADDED, &changed)), ["p"]);
        assert_eq!(names(&among(&world.view, &inputs, BACKEND, &changed)), ["backend", "t"]);
    }

    #[test]
    fn what_is_gone_is_to_blame_when_nothing_that_is_there_makes_a_difference() {
        let (world, inputs) = world(&[patch("p", "added")]);
        let changed = [key(registry::MESH_TIMEOUT, "deleted"), key(registry::MESH_PROXY_PATCH, "p")];
        assert_eq!(names(&among(&world.view, &inputs, BACKEND, &changed)), ["deleted"]);
    }

    #[test]
    fn of_two_that_say_the_same_both_are_to_blame() {
        let (world, inputs) = world(&[timeout("a", "1s"), timeout("b", "1s")]);
        let changed = [key(registry::MESH_TIMEOUT, "a"), key(registry::MESH_TIMEOUT, "b")];
        assert_eq!(names(&among(&world.view, &inputs, BACKEND, &changed)), ["a", "b"]);
    }

    #[test]
    fn without_knowing_what_changed_the_policy_that_was_written_last_is_to_blame() {
        let (mut world, inputs) = world(&[timeout("t", "1s")]);
        world.put_version(&patch("p", "added"), 7);
        world.put_version(&timeout("other", "2s"), 8);
        assert_eq!(latest(&world.view, &inputs, ADDED), Some(key(registry::MESH_PROXY_PATCH, "p")));
        assert_eq!(latest(&world.view, &inputs, BACKEND), Some(key(registry::MESH_TIMEOUT, "other")));
        let unknown = Refused { ty: ResourceType::Listener, name: "unknown" };
        assert_eq!(latest(&world.view, &inputs, unknown), None);
    }
}
