//! From merged rules to the ordered routes of one outbound.

use model::kinds::mesh_http_route::{RouteMatch, Rule};

use super::filters::{RouteFilter, share};
use super::matches::{catch_all, compare, is_catch_all, matchers};
use super::{HttpRules, RuleSource};
use crate::envoy::core::{DataSource, RuntimeFractionalPercent, data_source::Specifier};
use crate::envoy::route::route::Action;
use crate::envoy::route::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use crate::envoy::route::weighted_cluster::ClusterWeight;
use crate::envoy::route::{DirectResponseAction, Route, RouteAction, RouteMatch as EnvoyMatch, WeightedCluster};
use crate::envoy::{BoolValue, UInt32Value, seconds};
use crate::generators::outbound::Split;
use crate::policies::destinations::{Backend, Clusters, Destinations};

/// Name of the route for everything that no rule matches: the hash of its matches in Kuma's JSON.
/// Policies and metrics know it by this name.
const CATCH_ALL: &str = "9Zuf5Tg79OuZcQITwBbQykxAk2u4fRKrwYn3//AL4Yo=";

/// One match of one rule, with all it leads to.
struct Entry<'a> {
    name: &'a str,
    matches: RouteMatch,
    filters: Vec<RouteFilter<'a>>,
    splits: Vec<Split>,
    /// Weight of the backends that are not there; their share of requests is refused.
    unresolved: u32,
}

/// The routes of an outbound, in the order in which Envoy tries them. The last one matches everything.
pub(super) fn routes(
    rules: &HttpRules,
    own: &Backend,
    destinations: &dyn Destinations,
    clusters: &mut Clusters,
) -> Vec<Route> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (rule, source) in rules.iter() {
        let (splits, unresolved) = splits(rule, source, own, destinations, clusters);
        let filters = filters(rule, source, destinations, clusters);
        for matches in &rule.matches {
            entries.push(Entry {
                name: &source.route_name,
                matches: matches.clone(),
                filters: filters.clone(),
                splits: splits.clone(),
                unresolved,
            });
        }
    }
    entries.sort_by(|a, b| compare(&a.matches, &b.matches));
    if !entries.iter().any(|entry| is_catch_all(&entry.matches)) {
        entries.push(Entry {
            name: CATCH_ALL,
            matches: catch_all(),
            filters: Vec::new(),
            splits: vec![clusters.split(own)],
            unresolved: 0,
        });
    }
    entries.iter().flat_map(Entry::routes).collect()
}

/// Where a rule's requests go, and the weight of what is not there.
fn splits(
    rule: &Rule,
    source: &RuleSource,
    own: &Backend,
    destinations: &dyn Destinations,
    clusters: &mut Clusters,
) -> (Vec<Split>, u32) {
    let refs = rule.default.backend_refs.as_deref().unwrap_or_default();
    if refs.is_empty() {
        return (vec![clusters.split(own)], 0);
    }
    let mut splits = Vec::new();
    let mut unresolved: u32 = 0;
    for reference in refs.iter().filter(|reference| reference.weight > 0) {
        match Backend::resolve(destinations, &source.namespace, reference) {
            Some(backend) if backend.port.protocol.is_http() => splits.push(clusters.split(&backend)),
            Some(_) | None => unresolved = unresolved.saturating_add(reference.weight),
        }
    }
    (splits, unresolved)
}

fn filters<'a>(
    rule: &'a Rule,
    source: &RuleSource,
    destinations: &dyn Destinations,
    clusters: &mut Clusters,
) -> Vec<RouteFilter<'a>> {
    let mut resolved = Vec::new();
    for filter in rule.default.filters.iter().flatten() {
        let filter = RouteFilter::resolve(filter, |mirror| {
            let backend = Backend::resolve(destinations, &source.namespace, &mirror.backend_ref)
                .filter(|backend| backend.weight > 0 && backend.port.protocol.is_http())?;
            Some(clusters.cluster(&backend))
        });
        resolved.extend(filter);
    }
    resolved
}

impl Entry<'_> {
    fn routes(&self) -> Vec<Route> {
        let mut routes = Vec::new();
        for matcher in matchers(&self.matches) {
            let mut route = Route {
                name: self.name.to_owned(),
                r#match: Some(matcher.message.clone()),
                action: Some(self.action()),
                ..Default::default()
            };
            for filter in &self.filters {
                filter.apply(&mut route, matcher.twin);
            }
            if self.unresolved > 0 && !self.splits.is_empty() && !is_redirect(&route) {
                routes.push(refused_share(&route, &matcher.message, self.unresolved, self.weight()));
            }
            routes.push(route);
        }
        routes
    }

    fn weight(&self) -> u32 {
        self.splits.iter().fold(0, |sum, split| sum.saturating_add(split.weight))
    }

    fn action(&self) -> Action {
        let specifier = match self.splits.as_slice() {
            [] => return Action::DirectResponse(server_error()),
            [one] => ClusterSpecifier::Cluster(one.cluster.clone()),
            many => ClusterSpecifier::WeightedClusters(WeightedCluster {
                clusters: many.iter().map(cluster_weight).collect(),
                ..Default::default()
            }),
        };
        // An external service knows itself by its own host name, not by the one inside the mesh.
        let external = self.splits.iter().any(|split| split.external);
        Action::Route(RouteAction {
            timeout: Some(seconds(0)),
            cluster_specifier: Some(specifier),
            host_rewrite_specifier: external
                .then_some(HostRewriteSpecifier::AutoHostRewrite(BoolValue { value: true })),
            ..Default::default()
        })
    }
}

fn cluster_weight(split: &Split) -> ClusterWeight {
    ClusterWeight {
        name: split.cluster.clone(),
        weight: Some(UInt32Value { value: split.weight }),
        ..Default::default()
    }
}

fn is_redirect(route: &Route) -> bool {
    matches!(route.action, Some(Action::Redirect(_)))
}

/// The route that refuses the share of requests whose backends are not there.
fn refused_share(route: &Route, matches: &EnvoyMatch, unresolved: u32, resolved: u32) -> Route {
    let fraction = RuntimeFractionalPercent {
        default_value: Some(share(unresolved, unresolved.saturating_add(resolved))),
        ..Default::default()
    };
    Route {
        r#match: Some(EnvoyMatch { runtime_fraction: Some(fraction), ..matches.clone() }),
        action: Some(Action::DirectResponse(server_error())),
        ..route.clone()
    }
}

fn server_error() -> DirectResponseAction {
    DirectResponseAction {
        status: 500,
        body: Some(DataSource { specifier: Some(Specifier::InlineString(String::new())), ..Default::default() }),
        ..Default::default()
    }
}
