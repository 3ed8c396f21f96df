//! The kinds of resources by their names on the command line, and their paths in the API.

use model::registry::KINDS;
use model::{Kind, Scope};

/// The kind of a singular argument, aliases included.
pub(crate) fn by_argument(argument: &str) -> Option<Kind> {
    let argument = if argument == "global-secret" { "globalsecret" } else { argument };
    named().find(|kind| kind.kumactl_arg == argument)
}

/// The kind of a plural argument, aliases included.
pub(crate) fn by_list_argument(argument: &str) -> Option<Kind> {
    let argument = if argument == "global-secrets" { "globalsecrets" } else { argument };
    named().find(|kind| kind.kumactl_list_arg == argument)
}

/// The kinds that have a name on the command line.
pub(crate) fn named() -> impl Iterator<Item = Kind> {
    KINDS.iter().copied().filter(|kind| !kind.kumactl_arg.is_empty())
}

/// The path of all resources of a kind in a mesh.
pub(crate) fn list_path(kind: Kind, mesh: &str) -> String {
    match kind.scope {
        Scope::Mesh => format!("/meshes/{mesh}/{}", kind.path),
        Scope::Global => format!("/{}", kind.path),
    }
}

/// The path of a resource.
pub(crate) fn item_path(kind: Kind, mesh: &str, name: &str) -> String {
    format!("{}/{name}", list_path(kind, mesh))
}
