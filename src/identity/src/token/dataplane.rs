//! Whether a dataplane token admits a Dataplane.

use model::Labels;

use super::claims::DataplaneClaims;

/// Label that names the workload of a Dataplane.
const WORKLOAD_LABEL: &str = "kuma.io/workload";

/// The Dataplane that presents a token.
#[derive(Clone, Copy, Debug)]
pub struct DataplaneSubject<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its mesh.
    pub mesh: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// Whether the best-matching MeshIdentity derives its SPIFFE path from the workload label.
    pub identity_from_workload: bool,
}

/// Why the token does not admit the Dataplane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataplaneRefusal {
    /// Bound to another name.
    #[error("proxy name from requestor: {0} is different than in token: {1}")]
    Name(String, String),
    /// Bound to another mesh.
    #[error("proxy mesh from requestor: {0} is different than in token: {1}")]
    Mesh(String, String),
    /// A label is missing.
    #[error("dataplane has no tag \"{0}\" required by the token")]
    NoTag(String),
    /// A label has another value.
    #[error(
        "dataplane contains tag \"{tag}\" with value \"{value}\" which is not allowed with this token. \
         Allowed values in token are {allowed}"
    )]
    Tag {
        /// The label.
        tag: String,
        /// Its value.
        value: String,
        /// The allowed values, sorted and quoted.
        allowed: String,
    },
    /// The workload label is missing.
    #[error("dataplane has no workload label required by the token")]
    NoWorkload,
    /// The workload is another.
    #[error("dataplane workload \"{0}\" is not allowed with this token. Allowed workload in token is \"{1}\"")]
    Workload(String, String),
    /// The token would let anybody claim this workload's identity.
    #[error(
        "dataplane with \"kuma.io/workload\" label \"{0}\" derives its identity from the workload, \
         so it requires a workload-bound token"
    )]
    UnboundWorkload(String),
}

impl DataplaneClaims {
    /// Whether the token was given to this Dataplane.
    ///
    /// # Errors
    /// The first claim that does not fit.
    pub fn admit(&self, dataplane: &DataplaneSubject<'_>) -> Result<(), DataplaneRefusal> {
        if !self.name.is_empty() && self.name != dataplane.name {
            return Err(DataplaneRefusal::Name(dataplane.name.to_owned(), self.name.clone()));
        }
        if !self.mesh.is_empty() && self.mesh != dataplane.mesh {
            return Err(DataplaneRefusal::Mesh(dataplane.mesh.to_owned(), self.mesh.clone()));
        }
        for (tag, allowed) in &self.tags {
            let value = dataplane.labels.get(tag).ok_or_else(|| DataplaneRefusal::NoTag(tag.clone()))?;
            if !allowed.contains(value) {
                let (tag, value, allowed) = (tag.clone(), value.clone(), quoted(allowed));
                return Err(DataplaneRefusal::Tag { tag, value, allowed });
            }
        }
        match dataplane.labels.get(WORKLOAD_LABEL) {
            None if !self.workload.is_empty() => Err(DataplaneRefusal::NoWorkload),
            Some(workload) if !self.workload.is_empty() && *workload != self.workload => {
                Err(DataplaneRefusal::Workload(workload.clone(), self.workload.clone()))
            }
            Some(workload) if self.workload.is_empty() && dataplane.identity_from_workload => {
                Err(DataplaneRefusal::UnboundWorkload(workload.clone()))
            }
            _ => Ok(()),
        }
    }
}

fn quoted(values: &[String]) -> String {
    let mut values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
    values.sort();
    format!("[{}]", values.join(" "))
}
