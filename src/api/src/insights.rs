//! Counters of meshes and of the whole control plane, counted when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use model::kinds::dataplane::Dataplane;
use model::kinds::dataplane_insight::DataplaneInsight;
use model::kinds::mesh_insight::{
    DataplaneStat, DataplanesByType, DpVersions, MeshInsight, MeshMtlsStat, ResourceStat,
};
use model::kinds::mesh_service::MeshServiceStatus;
use model::kinds::zone_insight::ZoneInsight;
use model::{Key, Kind, Meta, Resource, Scope, Spec, Timestamp, document, registry};
use serde_json::{Value, json};
use store::State;

use crate::call::Call;
use crate::errors::Problem;
use crate::filters::Filters;
use crate::routes::Answer;
use crate::{json, meta, paging};

/// `GET /mesh-insights`.
pub(crate) async fn mesh_insights(call: Call) -> Answer {
    let title = "Could not retrieve resources";
    let (size, filters) = (paging::size(&call, title)?, Filters::parse(&call, registry::MESH_INSIGHT, title)?);
    let offset = paging::offset(&call, title)?;
    let state = call.state().await?;
    let all: Vec<_> = state
        .of_kind(registry::MESH)
        .filter_map(|mesh| of_mesh(&state, mesh))
        .filter(|insight| filters.admit(insight))
        .collect();
    let page: Vec<_> = all.iter().skip(offset).take(size).map(|insight| document::render(insight)).collect();
    let end = offset.saturating_add(page.len());
    Ok(paging::answer(&call, &page, all.len(), (end < all.len()).then_some(end)))
}

/// `GET /mesh-insights/{name}`.
pub(crate) async fn mesh_insight(call: Call) -> Answer {
    let state = call.state().await?;
    let mesh = state.get(&Key::global(registry::MESH, call.param("name")));
    let insight = mesh.and_then(|mesh| of_mesh(&state, mesh));
    let insight = insight.ok_or_else(|| Problem::not_found(crate::resources::read::TITLE))?;
    crate::resources::read::answer(&call, &insight, crate::resources::read::TITLE, None)
}

/// The insight of a mesh: the stored one, else one that is counted now.
fn of_mesh(state: &State, mesh: &Resource) -> Option<Arc<Resource>> {
    let key = Key::global(registry::MESH_INSIGHT, &mesh.key.name);
    if let Some(stored) = state.get(&key) {
        return Some(Arc::clone(stored));
    }
    let spec = Spec::of(count(state, &mesh.key.name)).ok()?;
    let meta = Meta { labels: model::Labels::new(), owner: None, ..mesh.meta.clone() };
    Some(Arc::new(Resource { key, meta, spec, status: None }))
}

fn count(state: &State, mesh: &str) -> MeshInsight {
    let mut all = DataplaneStat::default();
    let (mut standard, mut delegated) = (DataplaneStat::default(), DataplaneStat::default());
    let (mut versions, mut mtls) = (DpVersions::default(), MeshMtlsStat::default());
    for dataplane in state.in_mesh(registry::DATAPLANE, mesh) {
        let Some(spec) = dataplane.spec::<Dataplane>() else { continue };
        let insight = state.get(&Key::new(registry::DATAPLANE_INSIGHT, mesh, &dataplane.key.name));
        let insight = insight.and_then(|insight| insight.spec::<DataplaneInsight>());
        let health = Health::of(spec, insight);
        health.count(&mut all);
        health.count(if spec.is_delegated_gateway() { &mut delegated } else { &mut standard });
        let version = insight.and_then(|i| i.last_subscription()).and_then(|s| s.version.as_ref());
        let kuma_dp = version.and_then(|v| v.kuma_dp.as_ref()).map_or("", |v| &v.version);
        let envoy = version.and_then(|v| v.envoy.as_ref()).map_or("", |v| &v.version);
        health.count(versions.kuma_dp.entry(or_unknown(kuma_dp)).or_default());
        health.count(versions.envoy.entry(or_unknown(envoy)).or_default());
        if let Some(certificate) = insight.and_then(|insight| insight.mtls.as_ref()) {
            health.count(mtls.issued_backends.entry(or_unknown(&certificate.issued_backend)).or_default());
            for backend in &certificate.supported_backends {
                health.count(mtls.supported_backends.entry(backend.clone()).or_default());
            }
        }
    }
    let kinds = meta::served().filter(|kind| kind.scope == Scope::Mesh && !is_insight(*kind));
    let totals = kinds.map(|kind| (kind.name.to_owned(), total_of(state.in_mesh(kind, mesh).count())));
    MeshInsight {
        dataplanes: Some(all),
        dp_versions: Some(versions),
        mtls: Some(mtls),
        dataplanes_by_type: Some(DataplanesByType {
            standard: Some(standard),
            gateway: Some(delegated),
            gateway_delegated: Some(delegated),
        }),
        resources: totals.filter(|(_, stat)| stat.total > 0).collect(),
    }
}

fn total_of(count: usize) -> ResourceStat {
    ResourceStat { total: u32::try_from(count).unwrap_or(u32::MAX) }
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

fn is_insight(kind: Kind) -> bool {
    kind.read_only
}

/// How a proxy is.
#[derive(Clone, Copy)]
enum Health {
    Online,
    PartiallyDegraded,
    Offline,
}

impl Health {
    fn of(dataplane: &Dataplane, insight: Option<&DataplaneInsight>) -> Self {
        if !insight.is_some_and(DataplaneInsight::is_online) {
            return Self::Offline;
        }
        let inbounds = dataplane.inbounds();
        let ready = inbounds.iter().filter(|inbound| inbound.is_ready()).count();
        match ready {
            all if all == inbounds.len() => Self::Online,
            0 => Self::Offline,
            _ => Self::PartiallyDegraded,
        }
    }

    fn count(self, stat: &mut DataplaneStat) {
        stat.total += 1;
        match self {
            Self::Online => stat.online += 1,
            Self::PartiallyDegraded => stat.partially_degraded += 1,
            Self::Offline => stat.offline += 1,
        }
    }
}

/// `GET /global-insights`: how many resources there are beside all meshes.
pub(crate) async fn global_insights(call: Call) -> Answer {
    let state = call.state().await?;
    let kinds = meta::served().filter(|kind| kind.scope == Scope::Global && !is_insight(*kind));
    let resources: BTreeMap<_, _> = kinds.map(|kind| (kind.name, json!({ "total": state.count(kind) }))).collect();
    Ok(answer(&json!({
        "type": "GlobalInsights",
        "creationTime": Timestamp::now().to_string(),
        "resources": resources,
    })))
}

/// `GET /global-insight`.
pub(crate) async fn global_insight(call: Call) -> Answer {
    let state = call.state().await?;
    let insights: Vec<_> = state.of_kind(registry::MESH).map(|mesh| count(&state, &mesh.key.name)).collect();
    let sum = |pick: fn(&DataplanesByType) -> Option<DataplaneStat>| {
        let stats = insights.iter().filter_map(|insight| insight.dataplanes_by_type.as_ref().and_then(pick));
        full(stats.fold(DataplaneStat::default(), add))
    };
    let delegated = sum(|by_type| by_type.gateway_delegated);
    let resources = resources(&state, &insights);
    let policies: u64 = meta::served().filter(|kind| kind.is_policy).map(|kind| state.count(kind) as u64).sum();
    let zones = state.count(registry::ZONE);
    let online =
        state.of_kind(registry::ZONE_INSIGHT).filter(|z| z.spec::<ZoneInsight>().is_some_and(ZoneInsight::is_online));
    let none = json!({ "online": 0, "total": 0 });
    Ok(answer(&json!({
        "createdAt": Timestamp::now().to_string(),
        "dataplanes": { "standard": sum(|by_type| by_type.standard), "gatewayDelegated": delegated },
        "meshes": { "total": insights.len() },
        "policies": { "total": policies },
        "resources": resources,
        "services": {
            "external": { "total": state.count(registry::MESH_EXTERNAL_SERVICE) },
            "gatewayDelegated": delegated,
            "internal": full(services(&state)),
        },
        "zones": {
            "controlPlanes": { "online": online.count(), "total": zones },
            "zoneEgresses": none,
            "zoneIngresses": none,
        },
    })))
}

fn answer(body: &Value) -> Response {
    json::response(body)
}

fn add(a: DataplaneStat, b: DataplaneStat) -> DataplaneStat {
    DataplaneStat {
        total: a.total + b.total,
        online: a.online + b.online,
        offline: a.offline + b.offline,
        partially_degraded: a.partially_degraded + b.partially_degraded,
    }
}

/// All numbers, zeros too.
fn full(stat: DataplaneStat) -> Value {
    let DataplaneStat { total, online, offline, partially_degraded } = stat;
    json!({ "total": total, "online": online, "offline": offline, "partiallyDegraded": partially_degraded })
}

/// Totals by kind, of all meshes and beside them; what there is none of is left out.
fn resources(state: &State, insights: &[MeshInsight]) -> BTreeMap<String, Value> {
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    for (kind, stat) in insights.iter().flat_map(|insight| &insight.resources) {
        *totals.entry(kind.clone()).or_default() += u64::from(stat.total);
    }
    let left_out = [registry::GLOBAL_SECRET, registry::MESH, registry::ZONE, registry::CONFIG];
    for kind in meta::served().filter(|kind| kind.scope == Scope::Global && !is_insight(*kind)) {
        if !left_out.contains(&kind) {
            totals.insert(kind.name.to_owned(), state.count(kind) as u64);
        }
    }
    totals.remove(registry::SECRET.name);
    totals.into_iter().filter(|(_, total)| *total > 0).map(|(kind, total)| (kind, json!({ "total": total }))).collect()
}

/// Services by the proxies behind them.
fn services(state: &State) -> DataplaneStat {
    let mut stat = DataplaneStat::default();
    for service in state.of_kind(registry::MESH_SERVICE) {
        let proxies = service.status::<MeshServiceStatus>().map(|status| status.dataplane_proxies).unwrap_or_default();
        let usable = proxies.connected.min(proxies.healthy);
        let health = match usable {
            0 => Health::Offline,
            all if all == proxies.total => Health::Online,
            _ => Health::PartiallyDegraded,
        };
        health.count(&mut stat);
    }
    stat
}
