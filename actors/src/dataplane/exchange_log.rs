//! What a stream exchanged, as the insight of its Dataplane tells it.

use model::Timestamp;
use model::kinds::dataplane_insight::{DiscoveryServiceStats, DiscoverySubscriptionStatus};
use xds::ResourceType;
use xds::session::Heard;

/// Counters of one stream by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExchangeLog {
    stats: [DiscoveryServiceStats; ResourceType::ALL.len()],
    last: Option<Timestamp>,
}

impl ExchangeLog {
    /// A response of this type was sent.
    pub(crate) fn sent(&mut self, ty: ResourceType, now: Timestamp) {
        self.stats[ty as usize].responses_sent += 1;
        self.last = Some(now);
    }

    /// A request of this type was understood so.
    pub(crate) fn heard(&mut self, ty: ResourceType, heard: Heard, now: Timestamp) {
        let stats = &mut self.stats[ty as usize];
        match heard {
            Heard::Ack => stats.responses_acknowledged += 1,
            Heard::Nack => stats.responses_rejected += 1,
            Heard::Subscription | Heard::Stale => return,
        }
        self.last = Some(now);
    }

    /// How often the proxy refused something.
    pub(crate) fn rejected(&self) -> u64 {
        self.stats.iter().map(|stats| stats.responses_rejected).sum()
    }

    /// The status of the subscription. Secrets count in the total only.
    pub(crate) fn status(&self) -> DiscoverySubscriptionStatus {
        let of = |ty: ResourceType| Some(self.stats[ty as usize]);
        let mut total = DiscoveryServiceStats::default();
        for stats in &self.stats {
            total.responses_sent += stats.responses_sent;
            total.responses_acknowledged += stats.responses_acknowledged;
            total.responses_rejected += stats.responses_rejected;
        }
        DiscoverySubscriptionStatus {
            last_update_time: self.last.map(Into::into),
            total: Some(total),
            cds: of(ResourceType::Cluster),
            eds: of(ResourceType::Endpoint),
            lds: of(ResourceType::Listener),
            rds: of(ResourceType::Route),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_count_in_the_total_only() {
        let mut log = ExchangeLog::default();
        let now = Timestamp::UNIX_EPOCH;
        log.sent(ResourceType::Cluster, now);
        log.heard(ResourceType::Cluster, Heard::Nack, now);
        log.sent(ResourceType::Secret, now);
        log.heard(ResourceType::Secret, Heard::Ack, now);
        log.heard(ResourceType::Secret, Heard::Stale, now);
        let status = log.status();
        let (total, cds) = (status.total.unwrap(), status.cds.unwrap());
        assert_eq!((total.responses_sent, total.responses_acknowledged, total.responses_rejected), (2, 1, 1));
        assert_eq!((cds.responses_sent, cds.responses_acknowledged, cds.responses_rejected), (1, 0, 1));
    }
}
