//! The search for who is to blame for a refusal: off the actors, and once for all proxies that refuse
//! the same.

use std::sync::Arc;

use model::Key;
use xds::ProxyInputs;
use xds::blame::{Refused, among, latest};
use xds::session::Rejection;

use crate::hub::{Hub, Published};
use crate::shared::Shared;

/// What is asked.
pub(super) struct Inquiry {
    /// What was refused.
    pub(super) rejection: Rejection,
    /// The stored resources whose change may have brought it; `None` when that is not known.
    pub(super) changed: Option<Vec<Key>>,
    /// The view that it was made from.
    pub(super) published: Arc<Published>,
    /// What the proxy brings along.
    pub(super) inputs: ProxyInputs,
}

impl Inquiry {
    /// Who is to blame; nobody when that cannot be found.
    pub(super) async fn run(self, shared: &Shared, hub: &Hub) -> Arc<[Key]> {
        let Ok(_permit) = shared.inquiries.acquire().await else { return Arc::default() };
        if let Some(found) = self.known(hub) {
            return found;
        }
        let rejection = self.rejection.clone();
        let found: Arc<[Key]> = tokio::task::spawn_blocking(move || self.search()).await.unwrap_or_default().into();
        hub.blame(&rejection, &found);
        found
    }

    /// What was found for another proxy, or for this one before it connected anew.
    fn known(&self, hub: &Hub) -> Option<Arc<[Key]>> {
        let found = hub.causes(&self.rejection).filter(|found| !found.is_empty())?;
        let may_be = |key: &Key| match &self.changed {
            Some(changed) => changed.contains(key),
            None => self.published.view.resource(key).is_some(),
        };
        found.iter().all(may_be).then_some(found)
    }

    fn search(self) -> Vec<Key> {
        let view = &self.published.view;
        let refused = Refused { ty: self.rejection.ty, name: &self.rejection.name };
        match self.changed {
            Some(changed) => among(view, &self.inputs, refused, &changed),
            None => latest(view, &self.inputs, refused).into_iter().collect(),
        }
    }
}
