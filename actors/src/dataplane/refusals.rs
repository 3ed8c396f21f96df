//! What one proxy refuses now, and who is to blame as far as that is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Key;
use xds::ResourceType;
use xds::session::Rejection;

use crate::propagation::RefusedResource;

/// For how many refused resources of a proxy somebody to blame is looked for.
const BLAMED_LEN_MAX: usize = 16;

type ResourceName = (ResourceType, Arc<str>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    resources: BTreeMap<ResourceName, RefusedResource>,
    /// What the metric counts of this proxy, by type and kind of the cause.
    counted: Vec<(ResourceType, &'static str)>,
    /// Whether something is new since the list was last asked for.
    has_news: bool,
}

impl Refusals {
    /// Takes in what the proxy refuses now; those of which it must be found who is to blame.
    pub(super) fn update<'a>(&mut self, rejections: impl Iterator<Item = &'a Rejection>) -> Vec<Rejection> {
        let mut rejections = rejections.peekable();
        if self.resources.is_empty() && rejections.peek().is_none() {
            return Vec::new();
        }
        let mut former = std::mem::take(&mut self.resources);
        let mut unexplained = Vec::new();
        for rejection in rejections {
            let name = (rejection.ty, Arc::clone(&rejection.name));
            let known = former.remove(&name).filter(|known| known.rejection == *rejection);
            let refused = known.unwrap_or_else(|| {
                unexplained.push(rejection.clone());
                RefusedResource { rejection: rejection.clone(), causes: Arc::default() }
            });
            self.resources.insert(name, refused);
        }
        unexplained.truncate(BLAMED_LEN_MAX);
        self.has_news |= !unexplained.is_empty() || !former.is_empty();
        self.count();
        unexplained
    }

    /// It was found who is to blame; `false` when the proxy does not refuse that any more.
    pub(super) fn blame(&mut self, rejection: &Rejection, causes: Arc<[Key]>) -> bool {
        let refused = self.resources.get_mut(&(rejection.ty, Arc::clone(&rejection.name)));
        let Some(refused) = refused.filter(|refused| refused.rejection == *rejection) else { return false };
        refused.causes = causes;
        self.has_news = true;
        self.count();
        true
    }

    /// All of them, ordered by type and name; `None` when they are those of the last time.
    pub(super) fn news(&mut self) -> Option<Arc<[RefusedResource]>> {
        std::mem::take(&mut self.has_news).then(|| self.resources.values().cloned().collect())
    }

    fn count(&mut self) {
        let cause = |refused: &RefusedResource| refused.causes.first().map_or("unknown", |key| key.kind.name);
        let counted = self.resources.values().map(|refused| (refused.rejection.ty, cause(refused))).collect();
        for (former, step) in [(std::mem::replace(&mut self.counted, counted), -1.0), (self.counted.clone(), 1.0)] {
            for (ty, cause) in former {
                metrics::gauge!(crate::metrics::REFUSED, "type_url" => ty.type_url(), "cause" => cause).increment(step);
            }
        }
    }
}

impl Drop for Refusals {
    fn drop(&mut self) {
        self.resources.clear();
        self.count();
    }
}

#[cfg(test)]
mod tests {
    use xds::ContentHash;
    use xds::session::Span;

    use super::*;

    fn rejection(name: &str, version: u64) -> Rejection {
        let spans = Arc::new([Span { after: 0, upto: version }]);
        let version = ContentHash(version);
        Rejection { ty: ResourceType::Cluster, name: name.into(), version, message: "no".into(), spans }
    }

    #[test]
    fn what_was_found_stays_until_something_else_is_refused() {
        let mut refusals = Refusals::default();
        let (a, b) = (rejection("a", 1), rejection("b", 1));
        assert_eq!(refusals.update([&a].into_iter()), vec![a.clone()]);
        let policy = Key::new(model::registry::MESH_PROXY_PATCH, "m", "p");
        assert!(refusals.blame(&a, [policy.clone()].into()));
        assert_eq!(refusals.update([&a, &b].into_iter()), vec![b.clone()]);
        let found = refusals.news().expect("it is new");
        assert!(found[0].causes.iter().eq([&policy]));
        assert_eq!(refusals.update([&a, &b].into_iter()), []);
        assert_eq!(refusals.news(), None);
        assert_eq!(refusals.counted, [(ResourceType::Cluster, "MeshProxyPatch"), (ResourceType::Cluster, "unknown")]);
        let newer = rejection("a", 2);
        assert_eq!(refusals.update([&newer].into_iter()), [newer]);
        assert!(!refusals.blame(&a, [policy].into()), "that was the former one");
        assert!(refusals.news().expect("another one")[0].causes.is_empty());
        refusals.update([].into_iter());
        assert_eq!(refusals.news().as_deref(), Some(&[][..]));
        assert!(refusals.counted.is_empty());
    }

    #[test]
    fn flood_of_refusals_asks_for_few_causes() {
        let mut refusals = Refusals::default();
        let many: Vec<_> = (0..100).map(|n| rejection(&n.to_string(), 1)).collect();
        assert_eq!(refusals.update(many.iter()).len(), BLAMED_LEN_MAX);
        assert_eq!(refusals.news().map(|all| all.len()), Some(100));
    }
}
