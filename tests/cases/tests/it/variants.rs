//! Where a resource was written and where it is looked at: how Kuma's tests rewrite the metadata of
//! their fixtures.

use model::{Key, Labels, Resource};

/// A control plane on which a resource is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plane {
    GlobalUni,
    GlobalK8s,
    ZoneUni,
    ZoneK8s,
}

impl Plane {
    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "global-uni" => Self::GlobalUni,
            "global-k8s" => Self::GlobalK8s,
            "zone-uni" => Self::ZoneUni,
            "zone-k8s" => Self::ZoneK8s,
            other => panic!("unknown control plane {other}"),
        }
    }

    pub(crate) fn is_k8s(self) -> bool {
        matches!(self, Self::GlobalK8s | Self::ZoneK8s)
    }

    fn labels(self, resource: &Resource) -> Labels {
        let mut labels = Labels::new();
        let mut set = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
        set("kuma.io/display-name", &resource.key.name);
        match self {
            Self::GlobalUni | Self::GlobalK8s => set("kuma.io/origin", "global"),
            Self::ZoneUni | Self::ZoneK8s => set("kuma.io/origin", "zone"),
        };
        match self {
            Self::ZoneUni => set("kuma.io/zone", "zone-uni"),
            Self::ZoneK8s => set("kuma.io/zone", "zone-k8s"),
            Self::GlobalUni | Self::GlobalK8s => None,
        };
        if self.is_k8s() {
            set("k8s.kuma.io/namespace", "ns-k8s");
            set("kuma.io/mesh", &resource.key.mesh);
        }
        labels
    }

    /// The resource as it is on the control plane where it was written. Its own labels win.
    pub(crate) fn written(self, resource: &Resource) -> Resource {
        let mut labels = self.labels(resource);
        labels.extend(resource.meta.labels.clone());
        let name = if self.is_k8s() { format!("{}.ns-k8s", resource.key.name) } else { resource.key.name.to_string() };
        with_meta(resource, &name, labels)
    }
}

/// The resource as another control plane has it after synchronisation.
pub(crate) fn synced(resource: &Resource, to_k8s: bool) -> Resource {
    let label = |key: &str| resource.label(key).unwrap_or_default();
    let display_name = label("kuma.io/display-name");
    let hashed =
        hashed_name(&resource.key.mesh, display_name, &[label("kuma.io/zone"), label("k8s.kuma.io/namespace")]);
    let name = if to_k8s { format!("{hashed}.kuma-system") } else { hashed };
    with_meta(resource, &name, resource.meta.labels.clone())
}

/// The resource with one more label.
pub(crate) fn labelled(resource: &Resource, key: &str, value: &str) -> Resource {
    let mut labels = resource.meta.labels.clone();
    labels.insert(key.to_owned(), value.to_owned());
    with_meta(resource, &resource.key.name, labels)
}

fn with_meta(resource: &Resource, name: &str, labels: Labels) -> Resource {
    let mut changed = resource.clone();
    changed.key = Key::new(resource.key.kind, &resource.key.mesh, name);
    changed.meta.labels = labels;
    changed
}

/// The name under which Kuma stores a resource that came from elsewhere.
fn hashed_name(mesh: &str, name: &str, extra: &[&str]) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in [mesh, name].iter().chain(extra).flat_map(|part| part.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let encoded: String =
        format!("{hash:016x}").bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect();
    let kept: String = name.chars().take(236).collect();
    format!("{kept}-{encoded}")
}
