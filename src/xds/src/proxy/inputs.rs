//! What a proxy brings along: all that its configuration depends on beside the picture of its mesh.

use std::sync::Arc;
use std::time::Duration;

use model::Kri;
use model::kinds::conditions::ConditionStatus;
use model::kinds::mesh_identity::{MeshIdentity, MeshIdentityStatus, ProviderType};
use policy::Shadow;

use super::memo::is_same;
use crate::bootstrap::ProxyMetadata;
use crate::generators::admin::AdminCerts;
use crate::generators::tls::TlsIdentity;
use crate::view::{DataplaneEntry, MeshView};

/// Where a workload has its certificate from.
#[derive(Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// The control plane issued it.
    Issued {
        /// Its chain, PEM.
        chain_pem: Vec<u8>,
        /// Its key, PEM.
        key_pem: Vec<u8>,
    },
    /// The SPIRE agent beside the proxy hands it out.
    Spire {
        /// How long the proxy waits for the agent.
        connect_timeout: Duration,
    },
    /// It exists in name only: for showing a configuration without issuing anything.
    Named,
}

/// Who a workload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadIdentity {
    /// Identifier of its MeshIdentity.
    pub mesh_identity: Kri,
    /// Its SPIFFE ID.
    pub spiffe_id: String,
    /// Where its certificate comes from.
    pub source: IdentitySource,
}

impl WorkloadIdentity {
    /// How TLS contexts name it.
    pub fn tls(&self) -> TlsIdentity {
        match self.source {
            IdentitySource::Issued { .. } | IdentitySource::Named => {
                TlsIdentity::issued(&self.mesh_identity.to_string())
            }
            IdentitySource::Spire { .. } => TlsIdentity::of_spire(&self.spiffe_id),
        }
    }

    /// The identity that a dataplane has by its MeshIdentity, in name only; `None` when it has none or
    /// its MeshIdentity is not ready.
    pub fn named(view: &MeshView, entry: &DataplaneEntry) -> Option<Self> {
        let identity = view.identity_of(entry)?;
        let ready = identity.status::<MeshIdentityStatus>()?.condition("Ready")?;
        if ready.status != ConditionStatus::True {
            return None;
        }
        let provider = identity.spec::<MeshIdentity>()?.provider.as_ref()?;
        let source = match provider.kind {
            ProviderType::Spire => IdentitySource::Spire { connect_timeout: Duration::from_secs(1) },
            ProviderType::Bundled | ProviderType::Extension | ProviderType::Unknown(_) => IdentitySource::Named,
        };
        Some(Self { mesh_identity: Kri::of(identity), spiffe_id: view.spiffe_id_of(entry)?, source })
    }

    /// Whether somebody else than the control plane issues certificates and trust.
    pub fn is_external(&self) -> bool {
        matches!(self.source, IdentitySource::Spire { .. })
    }
}

impl std::fmt::Debug for IdentitySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Issued { .. } => "Issued",
            Self::Spire { .. } => "Spire",
            Self::Named => "Named",
        })
    }
}

/// What a proxy brings along. Keep the `Arc`s from one call to the next: what is the same one is known
/// not to have changed.
#[derive(Clone, Debug)]
pub struct ProxyInputs {
    /// Name of its Dataplane.
    pub dataplane: Arc<str>,
    /// What it said of itself.
    pub metadata: Arc<ProxyMetadata>,
    /// Who it is; without an identity it speaks plaintext.
    pub identity: Option<Arc<WorkloadIdentity>>,
    /// Certificates of its admin listener; without any the listener has empty ones.
    pub admin: Option<Arc<AdminCerts>>,
    /// Whether policies that are only evaluated count.
    pub shadow: Shadow,
}

impl ProxyInputs {
    /// Whether both hold the very same values, which needs no look at them.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same_identity = is_same(self.identity.as_ref(), other.identity.as_ref());
        let is_same_admin = is_same(self.admin.as_ref(), other.admin.as_ref());
        self.dataplane == other.dataplane
            && self.shadow == other.shadow
            && Arc::ptr_eq(&self.metadata, &other.metadata)
            && is_same_identity
            && is_same_admin
    }

    /// A proxy without identity.
    pub fn new(dataplane: &str, metadata: Arc<ProxyMetadata>) -> Self {
        Self { dataplane: dataplane.into(), metadata, identity: None, admin: None, shadow: Shadow::Excluded }
    }
}
