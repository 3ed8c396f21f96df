//! How a replica is configured.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::codec;
use crate::errors::OpenError;

/// A group to join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// `host:port` of replica listeners, any of the group.
    pub addresses: Vec<String>,
    /// The token that a replica of the group gave, see [`crate::RaftStore::join_token`].
    pub token: String,
}

/// Replicas that found one group together, each with the same list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// `host:port` of all their listeners. The first one founds the group, once all are there.
    pub addresses: Vec<String>,
    /// This replica's own among them.
    pub own: String,
    /// What they all know and nobody else. Who knows it can become a replica.
    pub secret: String,
}

/// Election timeouts after which a leader that is not answered gives up.
const SILENCE_FACTOR: u32 = 3;

/// An election takes less, unless the group cannot elect anybody.
const LEADER_WAIT: Duration = Duration::from_secs(2);

/// Settings of a replica. [`Settings::new`] gives sane values for all but the directory.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything is kept. Created when missing.
    pub data_dir: PathBuf,
    /// File with the sealing keys; by default `cluster.keys` in the data directory. Keep it
    /// elsewhere when a stolen disk must not show secrets.
    pub key_file: Option<PathBuf>,
    /// Where the other replicas reach this one; without it, it stays a group of one.
    pub listen: Option<SocketAddr>,
    /// `host:port` that the others use, when it differs from `listen`.
    pub advertise: Option<String>,
    /// The group that a new data directory joins; without it, it founds one. Ignored once joined.
    pub join: Option<Join>,
    /// The replicas that a new data directory founds a group with, or joins when there is one
    /// already. Ignored once it is in the group.
    pub peers: Option<Peers>,
    /// How often the certificate that others are shown is replaced; it holds three times as long.
    pub certificate_renewal: Duration,
    /// The newest format of records that is read, see [`Settings::FORMATS`]. Lower it to see how a
    /// replica of an older version does in a group.
    pub reads_format: u8,
    /// How often the leader shows that it lives.
    pub heartbeat: Duration,
    /// Followers elect another leader when they have heard nothing for `election_timeout_max` (the
    /// lease, in which they refuse every candidate) plus a random time between min and max. So a
    /// disk may stall for max + min before the leadership is lost.
    pub election_timeout_min: Duration,
    /// See `election_timeout_min`.
    pub election_timeout_max: Duration,
    /// How long a write waits for a majority once a leader has it. Without a leader it is refused after
    /// two seconds, or three times `election_timeout_max` when that is longer.
    pub commit_timeout: Duration,
    /// A snapshot is taken after this many log entries.
    pub snapshot_after_entries: u64,
    /// How many entries before the snapshot are kept for followers that are a little behind.
    pub entries_kept: u64,
}

impl Settings {
    /// The formats of records that this build reads. It writes the newest that its group reads.
    pub const FORMATS: RangeInclusive<u8> = codec::FORMAT_OLDEST..=codec::FORMAT;

    /// Defaults, with this data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            key_file: None,
            listen: None,
            advertise: None,
            join: None,
            peers: None,
            certificate_renewal: Duration::from_secs(120 * 24 * 60 * 60),
            reads_format: codec::FORMAT,
            heartbeat: Duration::from_millis(80),
            election_timeout_min: Duration::from_millis(250),
            election_timeout_max: Duration::from_millis(400),
            commit_timeout: Duration::from_secs(5),
            snapshot_after_entries: 5000,
            entries_kept: 1000,
        }
    }

    /// Within this time of its leader's last word a follower stands for election.
    pub(crate) fn election_max(&self) -> Duration {
        self.election_timeout_max * 2
    }

    /// A leader that no majority has answered for so long does not lead any more. Followers, in all but
    /// the rarest case, have elected another by then.
    pub(crate) fn silence(&self) -> Duration {
        self.election_timeout_max * SILENCE_FACTOR
    }

    /// How long a write or a consistent read waits while there is no leader, or none that it reaches.
    pub(crate) fn leader_wait(&self) -> Duration {
        LEADER_WAIT.max(self.silence()).min(self.commit_timeout)
    }

    /// openraft's configuration.
    pub(crate) fn openraft(&self) -> Result<openraft::Config, OpenError> {
        let config = openraft::Config {
            cluster_name: "kuma-cp".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_timeout_min),
            election_timeout_max: millis(self.election_timeout_max),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_after_entries),
            max_in_snapshot_log_to_keep: self.entries_kept,
            replication_lag_threshold: self.snapshot_after_entries,
            ..openraft::Config::default()
        };
        config.validate().map_err(|e| OpenError::Settings(e.to_string()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
