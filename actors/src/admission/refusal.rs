//! Why a stream is refused, in the words that clients of Kuma know.

use store::CommitError;
use tonic::Status;
use xds::bootstrap::MetadataError;

use super::proxy_id::{ProxyId, ProxyIdError};

/// Why a stream is refused. It ends with gRPC `Unknown` and this text, as Kuma's do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request has more than one credential.
    #[error(
        "could not extract credential from DiscoveryRequest: request must have exactly 1 \"authorization\" header, got {0}"
    )]
    Credentials(usize),
    /// The node id names no proxy, and the proxy brought no Dataplane along.
    #[error("request must have a valid Proxy ID: {0}")]
    Node(ProxyIdError),
    /// The node id names no proxy, though it brought a Dataplane along.
    #[error("invalid node ID: {0}")]
    InvalidNode(ProxyIdError),
    /// Not a sidecar, gateway or zone proxy.
    #[error("unsupported proxy type \"{0}\"")]
    ProxyType(String),
    /// There is no such Dataplane.
    #[error("resource \"{0}\" not found; create a Dataplane in Kuma CP first or pass it as an argument to kuma-dp")]
    NotFound(ProxyId),
    /// The credential is not this Dataplane's.
    #[error("authentication failed: {0}")]
    Authentication(String),
    /// A later request claims to come from another proxy.
    #[error(
        "stream was authenticated for ID {authenticated}. Received request is for node with ID {received}. \
         Node ID cannot be changed after stream is initialized"
    )]
    NodeChanged {
        /// Who was authenticated.
        authenticated: ProxyId,
        /// What the request says.
        received: String,
    },
    /// A MeshIdentity needs a label that the Dataplane lacks.
    #[error(
        "missing required label 'kuma.io/workload' - dataplane is selected by MeshIdentity '{identity}' \
         with path template '{template}'"
    )]
    NoWorkloadLabel {
        /// Name of the MeshIdentity.
        identity: String,
        /// Its path template.
        template: String,
    },
    /// The node has no metadata.
    #[error("metadata in xDS Node cannot be nil")]
    NoMetadata,
    /// The node's metadata has not the shape that the bootstrap gives it.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The proxy is connected already.
    #[error("there is already an active stream from this node, try again later")]
    Duplicate,
    /// The Dataplane that the proxy brought along could not be stored.
    #[error("could not register proxy passed in kuma-dp run: {0}")]
    Registration(#[from] RegistrationError),
}

/// Why a Dataplane that a proxy brought along is not stored.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// It is another one than the node id says.
    #[error("proxyId {id} does not match proxy resource {resource}")]
    Mismatch {
        /// The node.
        id: ProxyId,
        /// The resource.
        resource: ProxyId,
    },
    /// A stored Dataplane of this name does not admit the credential.
    #[error("you are trying to override existing proxy to which you don't have an access.")]
    Override,
    /// It changed under our hands too often.
    #[error("attempt to concurently register deleted DPP resource, needs retry")]
    Contended,
    /// It is not a Dataplane, or not a valid one.
    #[error("{0}")]
    Invalid(String),
    /// Its mesh does not exist.
    #[error("mesh of name {0} is not found")]
    NoMesh(String),
    /// The store did not take it.
    #[error(transparent)]
    Store(CommitError),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match &refusal {
            Refusal::Metadata(_) => Self::invalid_argument(refusal.to_string()),
            _ => Self::unknown(refusal.to_string()),
        }
    }
}
