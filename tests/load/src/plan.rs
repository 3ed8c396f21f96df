//! What a run does.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// Descriptors that a process has open beside its proxies' connections.
const OTHER_FILES: u64 = 1024;

/// What to run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Plan {
    /// How many proxies connect.
    #[arg(long, default_value_t = 1000)]
    pub(crate) proxies: usize,
    /// How many services there are; proxies are spread over them.
    #[arg(long, default_value_t = 100)]
    pub(crate) services: usize,
    /// How many services each proxy can reach; all when absent.
    #[arg(long)]
    pub(crate) reachable: Option<usize>,
    /// Rounds of each change.
    #[arg(long, default_value_t = 10)]
    pub(crate) rounds: usize,
    /// For how many seconds nothing is done, and for how many proxies come and go.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// How many proxies leave, and as many come, each second while they come and go.
    #[arg(long, default_value_t = 5)]
    pub(crate) churn: usize,
    /// How many more proxies connect in `storm-change`.
    #[arg(long, default_value_t = 1000)]
    pub(crate) storm: usize,
    /// How many services that no proxy reaches come in `flatness`.
    #[arg(long, default_value_t = 1000)]
    pub(crate) unrelated: usize,
    /// Only these scenarios; all when absent. Connecting is always one.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Scenario>,
}

/// What can be done to a control plane, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// Dataplanes are written over the API
    Register,
    /// Nothing happens
    Idle,
    /// A policy on the inbounds of all
    PolicyAll,
    /// A policy on all that is called
    PolicyOutbounds,
    /// An endpoint of a service that all call moves
    Endpoint,
    /// A policy on the inbounds of one service
    PolicyOne,
    /// A service comes and goes
    Service,
    /// Services that nobody calls come, and an endpoint moves as before
    Flatness,
    /// Proxies come and go while an endpoint moves
    Churn,
    /// Many more proxies connect at once while an endpoint moves
    StormChange,
    /// The authority of all identities is made anew
    Rotation,
    /// The control plane restarts
    Reconnect,
    /// The same bytes from the bare server
    Floor,
}

impl Plan {
    /// Whether a scenario is wanted. Flatness makes sense only where not all is reachable.
    pub(crate) fn has(&self, scenario: Scenario) -> bool {
        if self.only.is_empty() {
            scenario != Scenario::Flatness || self.reachable.is_some()
        } else {
            self.only.contains(&scenario)
        }
    }

    /// Raises the limit of open files, here and for the control plane, which inherits it.
    pub(crate) fn raise_file_limit(&self) -> Result<Value> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let needed = u64::try_from(self.proxies + self.storm)? + OTHER_FILES;
        anyhow::ensure!(hard >= needed, "the limit of open files is {hard}, {needed} are needed: raise `ulimit -Hn`");
        if soft < needed {
            setrlimit(Resource::RLIMIT_NOFILE, needed, hard)?;
        }
        Ok(json!({"needed": needed, "soft": soft.max(needed), "hard": hard}))
    }
}
