//! The mode that distrusts what is incremental: a configuration is made from nothing as well, and who
//! is not touched by a view must run what it ran.

use std::sync::Arc;

use xds::{Memo, MeshView, ProxyConfig, ProxyInputs};

use crate::hub::Published;

/// A configuration that differs from what it must be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// What is wrong: `configuration`, or `touched` when a view says that it does not concern the proxy.
    pub(super) of: &'static str,
    /// A resource that differs; `None` when it is in what could not be applied.
    pub(super) resource: Option<String>,
}

/// Compares the configuration that was made for a view with the one that is made from nothing.
pub(super) fn with_rebuilt(config: &ProxyConfig, rebuilt: &MeshView, inputs: &ProxyInputs) -> Option<Difference> {
    let anew = xds::generate(rebuilt, inputs, &mut Memo::default())?;
    (*anew != *config).then(|| Difference { of: "configuration", resource: first_difference(config, &anew) })
}

/// Compares the configuration with the former one, when the view is the next one and does not touch the
/// proxy.
pub(super) fn with_former(
    config: &ProxyConfig,
    former: Option<&(u64, Arc<ProxyConfig>)>,
    published: &Published,
    proxy: &str,
) -> Option<Difference> {
    let (_, former) = former.filter(|(number, _)| published.number == number + 1)?;
    let must_be_same = !published.touched.contains(proxy);
    (must_be_same && **former != *config)
        .then(|| Difference { of: "touched", resource: first_difference(former, config) })
}

fn first_difference(a: &ProxyConfig, b: &ProxyConfig) -> Option<String> {
    let resources = |config: &ProxyConfig| -> Vec<_> {
        config.iter().map(|e| (e.resource.ty, Arc::clone(&e.resource.name), e.version)).collect()
    };
    let (a, b) = (resources(a), resources(b));
    let only = a.iter().find(|of_a| !b.contains(of_a)).or_else(|| b.iter().find(|of_b| !a.contains(of_b)));
    only.map(|(ty, name, _)| format!("{ty:?} {name}"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use model::{Meta, Resource, Timestamp, registry};
    use serde_json::json;
    use store::Revision;
    use xds::bootstrap::ProxyMetadata;
    use xds::view::ViewSettings;
    use xds::{ContentHash, EncodedResource, Entry, ResourceType, Touched};

    use super::*;

    fn view() -> MeshView {
        let spec = json!({"networking": {"address": "10.0.0.1", "inbound": [{"port": 80}]}});
        let dataplane = Resource {
            key: model::Key::new(registry::DATAPLANE, "m", "web"),
            meta: Meta::new(Timestamp::UNIX_EPOCH),
            spec: registry::DATAPLANE.codec.admit(spec).unwrap(),
            status: None,
        };
        MeshView::build("m", [&Arc::new(dataplane)], &Arc::new(ViewSettings::default()))
    }

    fn with_other(config: &ProxyConfig) -> Arc<ProxyConfig> {
        let resource = EncodedResource {
            ty: ResourceType::Cluster,
            name: "other".into(),
            hash: ContentHash(1),
            body: Bytes::new(),
        };
        let entry = Entry { resource: Arc::new(resource), version: ContentHash(1) };
        let types = ResourceType::ALL.map(|ty| (ty, config.of(ty).clone()));
        let others = [(ResourceType::Cluster, [entry].into_iter().collect())];
        Arc::new(ProxyConfig::new(types.into_iter().chain(others), Vec::new()))
    }

    #[test]
    fn configuration_that_is_not_the_one_made_from_nothing_is_told() {
        let inputs = ProxyInputs::new("web", Arc::new(ProxyMetadata::default()));
        let config = xds::generate(&view(), &inputs, &mut Memo::default()).unwrap();
        assert_eq!(with_rebuilt(&config, &view().rebuilt(), &inputs), None);
        let wrong = with_rebuilt(&with_other(&config), &view(), &inputs).unwrap();
        assert_eq!((wrong.of, wrong.resource.as_deref()), ("configuration", Some("Cluster other")));
    }

    #[test]
    fn view_that_changes_a_proxy_that_it_does_not_touch_is_told() {
        let (former, config) = (Arc::new(ProxyConfig::default()), with_other(&ProxyConfig::default()));
        let published = |number: u64, touched: Touched| Published {
            view: Arc::new(view()),
            rebuilt: None,
            number,
            revision: Revision(9),
            touched,
            committed_at: Timestamp::UNIX_EPOCH,
            identity_epoch: 0,
            folded_at: Instant::now(),
            kind: "Mesh",
        };
        let last = (7, former);
        let difference = |published: &Published| with_former(&config, Some(&last), published, "web");
        assert_eq!(difference(&published(8, Touched::None)).map(|found| found.of), Some("touched"));
        assert_eq!(difference(&published(8, Touched::All)), None);
        assert_eq!(difference(&published(9, Touched::None)), None, "a view between them may have touched it");
    }
}
