//! One stream of a proxy, as its insight shows it.

use std::sync::Arc;

use model::kinds::dataplane_insight::{
    DataplaneInsight, DataplaneMtls, DiscoverySubscription, EnvoyVersion, KumaDpVersion, Version,
};
use model::registry::MESH_TRUST;
use model::{Kri, Timestamp};
use serde_json::{Map, Value};
use xds::bootstrap::{ProxyMetadata, is_compatible};

use crate::admission::{Admitted, ProxyId};
use crate::dataplane::ExchangeLog;
use crate::identities::Issued;
use crate::settings::Settings;
use crate::shared::Shared;

/// How many subscriptions an insight keeps.
const SUBSCRIPTIONS_LEN_MAX: usize = 2;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Whose stream it is.
    pub(super) id: ProxyId,
    /// Number of the stream in this process.
    pub(super) stream: u64,
    /// What the proxy said of itself.
    pub(super) metadata: Arc<Map<String, Value>>,
    /// What does not change while the stream lives.
    pub(super) opened: Arc<DiscoverySubscription>,
    pub(super) log: ExchangeLog,
    pub(super) mtls: Option<DataplaneMtls>,
    pub(super) generation: u32,
    pub(super) disconnect_time: Option<Timestamp>,
}

impl Connection {
    /// A stream that was opened now.
    pub(crate) fn open(settings: &Settings, admitted: &Admitted, now: Timestamp) -> Self {
        let opened = DiscoverySubscription {
            id: uuid::Uuid::new_v4().to_string(),
            control_plane_instance_id: settings.instance_id.to_string(),
            connect_time: Some(now.into()),
            version: version(&admitted.metadata),
            ..DiscoverySubscription::default()
        };
        Self {
            id: admitted.seat.id.clone(),
            stream: admitted.seat.stream,
            metadata: Arc::clone(&admitted.raw_metadata),
            opened: Arc::new(opened),
            log: ExchangeLog::default(),
            mtls: None,
            generation: 0,
            disconnect_time: None,
        }
    }

    /// Writes this stream into an insight.
    pub(super) fn merge_into(&self, insight: &mut DataplaneInsight) {
        let subscription = DiscoverySubscription {
            disconnect_time: self.disconnect_time.map(Into::into),
            status: Some(self.log.status()),
            generation: self.generation,
            ..(*self.opened).clone()
        };
        match insight.subscriptions.iter_mut().find(|known| known.id == subscription.id) {
            Some(known) => *known = subscription,
            None => {
                for older in insight.subscriptions.iter_mut().filter(|older| older.disconnect_time.is_none()) {
                    older.disconnect_time = subscription.connect_time;
                }
                insight.subscriptions.push(subscription);
                let surplus = insight.subscriptions.len().saturating_sub(SUBSCRIPTIONS_LEN_MAX);
                insight.subscriptions.drain(..surplus);
            }
        }
        insight.metadata = Some(Arc::clone(&self.metadata));
        insight.mtls.clone_from(&self.mtls);
    }
}

fn version(metadata: &ProxyMetadata) -> Option<Version> {
    let version = metadata.version.as_ref()?;
    let (kuma_dp, envoy) = (&version.kuma_dp, &version.envoy);
    Some(Version {
        kuma_dp: Some(KumaDpVersion {
            version: kuma_dp.version.clone(),
            git_tag: kuma_dp.git_tag.clone(),
            git_commit: kuma_dp.git_commit.clone(),
            build_date: kuma_dp.build_date.clone(),
            kuma_cp_compatible: is_compatible(env!("CARGO_PKG_VERSION"), &kuma_dp.version),
        }),
        envoy: Some(EnvoyVersion {
            version: envoy.version.clone(),
            build: envoy.build.clone(),
            kuma_dp_compatible: envoy.kuma_dp_compatible,
        }),
        dependencies: version.dependencies.clone(),
    })
}

/// What an insight says of a proxy's certificate.
pub(crate) fn mtls(issued: &Issued, shared: &Shared, mesh: &str) -> DataplaneMtls {
    let state = shared.store.snapshot();
    let mut trusts: Vec<String> = state.in_mesh(MESH_TRUST, mesh).map(|trust| Kri::of(trust).to_string()).collect();
    trusts.sort();
    DataplaneMtls {
        certificate_expiration_time: Some(issued.expires_at.into()),
        last_certificate_regeneration: Some(issued.issued_at.into()),
        certificate_regenerations: issued.count,
        issued_backend: issued.workload.mesh_identity.to_string(),
        supported_backends: trusts,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn connection(name: &str, at: i64) -> Connection {
        let time = Timestamp::from_second(at).unwrap();
        let opened =
            DiscoverySubscription { id: name.to_owned(), connect_time: Some(time.into()), ..Default::default() };
        Connection {
            id: ProxyId { mesh: "m".into(), name: "p".into() },
            stream: 1,
            metadata: Arc::default(),
            opened: Arc::new(opened),
            log: ExchangeLog::default(),
            mtls: None,
            generation: 0,
            disconnect_time: None,
        }
    }

    #[test]
    fn insight_keeps_two_subscriptions_and_one_open() {
        let mut insight = DataplaneInsight::default();
        for at in 1..5 {
            connection(&at.to_string(), at).merge_into(&mut insight);
        }
        let ids: Vec<_> = insight.subscriptions.iter().map(|s| (s.id.as_str(), s.is_online())).collect();
        assert_eq!(ids, [("3", false), ("4", true)]);
        assert_eq!(insight.subscriptions[0].disconnect_time, insight.subscriptions[1].connect_time);
    }

    #[test]
    fn closing_a_stream_changes_its_own_subscription_only() {
        let mut insight = DataplaneInsight::default();
        let mut first = connection("1", 1);
        first.merge_into(&mut insight);
        connection("2", 2).merge_into(&mut insight);
        first.disconnect_time = Some(Timestamp::from_second(9).unwrap());
        first.merge_into(&mut insight);
        let online: Vec<_> = insight.subscriptions.iter().map(DiscoverySubscription::is_online).collect();
        assert_eq!(online, [false, true]);
    }
}
