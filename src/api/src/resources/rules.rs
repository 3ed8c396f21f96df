//! What a written resource must satisfy beside its own kind's rules: agreement with its address,
//! labels that fit this control plane, names.

use model::labels::{self, ORIGIN};
use model::{Key, Kind, Labels, Scope, Violations, names, registry};

use crate::settings::Settings;

/// What the body of a write says of itself.
pub(crate) struct Claims<'a> {
    pub(crate) type_name: &'a str,
    pub(crate) mesh: &'a str,
    pub(crate) name: &'a str,
    pub(crate) labels: &'a Labels,
}

/// Faults of a body that is written at `key`, all of them.
pub(crate) fn check(body: &Claims<'_>, key: &Key, settings: &Settings) -> Violations {
    let mut faults = Violations::new();
    let kind = key.kind;
    if body.name != &*key.name {
        faults.add("name", "name from the URL has to be the same as in body");
    }
    // The global control plane stores the resource under the zone's name and its own.
    if let Some(zone) = settings.zone().filter(|_| settings.is_federated_zone())
        && zone.len() + 1 + body.name.len() >= names::DNS_NAME_LEN_MAX
    {
        faults.add("name", "the length of the name must be shorter");
    }
    if body.type_name != kind.name {
        faults.add("type", "type from the URL has to be the same as in body");
    }
    if kind.scope == Scope::Mesh && body.mesh != &*key.mesh {
        faults.add("mesh", "mesh from the URL has to be the same as in body");
    }
    let check_origin = !settings.disable_origin_label_validation;
    faults.append(labels::check_write(kind, &key.mesh, body.labels, &settings.site, check_origin));
    faults.append(names::check_name(body.name));
    if kind.scope == Scope::Mesh {
        faults.append(names::check_mesh(body.mesh));
    }
    faults
}

/// Why a stored resource is not this control plane's to change. What has no origin was written here.
pub(crate) fn foreign_stored(kind: Kind, stored: &Labels, settings: &Settings) -> Option<String> {
    if settings.disable_origin_label_validation || !stored.contains_key(ORIGIN) {
        return None;
    }
    let faults = labels::check_writable_origin(kind, stored, &settings.site);
    faults.0.into_iter().next().map(|fault| fault.message)
}

/// Names that become part of hostnames must be labels of one.
pub(crate) fn check_kind_name(key: &Key, creates: bool) -> Violations {
    let mut faults = names::check_display_name(key.kind, &key.name);
    if key.kind == registry::MESH && creates {
        faults.append(names::check_new_mesh_name(&key.name));
    }
    faults
}

/// A dataplane names its workload by a DNS label, and only where dataplanes live.
pub(crate) fn workload_fault(kind: Kind, labels: &Labels, settings: &Settings) -> Option<String> {
    let faults = labels::check_workload(labels, &settings.site).0.into_iter();
    faults.filter(|_| kind == registry::DATAPLANE).map(|fault| format!("{}: {}", fault.field, fault.message)).next()
}
