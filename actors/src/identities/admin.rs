//! The certificate of a proxy's admin listener, by which the control plane reads its state.

use std::sync::Arc;

use identity::CertificatePair;
use identity::x509::{Authority, Purpose, X509Error, issue_for_hosts};
use model::kinds::dataplane::Dataplane;
use model::kinds::secret::Secret;
use model::registry::GLOBAL_SECRET;
use model::{Key, Timestamp};
use store::State;
use tracing::warn;
use xds::ContentHash;
use xds::generators::admin::AdminCerts;

use super::{Identities, lock};
use crate::admission::ProxyId;

/// Secret with the authority of admin listeners.
const AUTHORITY: &str = "envoy-admin-ca";

/// What a certificate is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedAdmin {
    authority: CertificatePair,
    address: String,
}

/// The admin certificate of one connected proxy. It is made once a stream, and again when the
/// address changes.
#[derive(Debug, Default)]
pub(crate) struct AdminCertificate {
    made_for: Option<String>,
    making: bool,
}

impl AdminCertificate {
    /// Whether there is nothing to wait for.
    pub(crate) fn is_settled(&self) -> bool {
        !self.making
    }

    /// What must be made now.
    pub(crate) fn step(&mut self, state: &State, id: &ProxyId) -> Option<WantedAdmin> {
        let address = state.get(&id.dataplane())?.spec::<Dataplane>()?.address();
        if self.making || self.made_for.as_deref() == Some(address) {
            return None;
        }
        let bundle = state.get(&Key::global(GLOBAL_SECRET, AUTHORITY))?.spec::<Secret>()?.bytes();
        let authority = CertificatePair::from_bundle(std::str::from_utf8(bundle).ok()?)?;
        self.making = true;
        self.made_for = Some(address.to_owned());
        Some(WantedAdmin { authority, address: address.to_owned() })
    }

    /// The making has ended.
    pub(crate) fn issued(&mut self, certificate: Option<Arc<AdminCerts>>) -> Option<Arc<AdminCerts>> {
        self.making = false;
        certificate
    }
}

impl Identities {
    /// Makes an admin certificate, or takes the one that was made for the same address before;
    /// `None` when that is impossible: such a proxy cannot be inspected.
    pub(crate) async fn issue_admin(&self, wanted: WantedAdmin) -> Option<Arc<AdminCerts>> {
        let kept = lock(&self.admins).get(&wanted.address).cloned();
        if let Some(kept) = kept.filter(|kept| kept.ca == wanted.authority.certificate_pem.as_bytes()) {
            return Some(kept);
        }
        let _permit = self.permits.acquire().await.ok()?;
        let address = wanted.address.clone();
        // Reading an RSA key costs as much as signing with it.
        let hash = ContentHash::of(wanted.authority.to_bundle().as_bytes());
        let known = self.authority(hash);
        let made = tokio::task::spawn_blocking(move || make(&wanted, known)).await.ok()?;
        match made {
            Ok((authority, certificate)) => {
                self.keep_authority(hash, authority);
                let mut admins = lock(&self.admins);
                if admins.len() >= super::KEPT_LEN_MAX {
                    admins.clear();
                }
                admins.insert(address, Arc::clone(&certificate));
                Some(certificate)
            }
            Err(error) => {
                warn!(address, %error, "no admin certificate");
                None
            }
        }
    }
}

fn make(wanted: &WantedAdmin, known: Option<Arc<Authority>>) -> Result<(Arc<Authority>, Arc<AdminCerts>), X509Error> {
    let authority = match known {
        Some(authority) => authority,
        None => Arc::new(Authority::load(&wanted.authority)?),
    };
    let hosts = [wanted.address.clone()];
    let pair = issue_for_hosts(&authority, &hosts, Purpose::Server, Timestamp::now())?;
    let certificate = AdminCerts {
        ca: wanted.authority.certificate_pem.clone().into_bytes(),
        cert: pair.certificate_pem.into_bytes(),
        key: pair.key_pem.into_bytes(),
    };
    Ok((authority, Arc::new(certificate)))
}
