//! The replicated store: [`RaftStore`] is a [`store::Store`] that a group of replicas keeps, or one
//! alone.
//!
//! Only this crate knows openraft, sled and bincode. A transaction goes in at [`store::Store::commit`],
//! is encoded, proposed together with whatever else is waiting, appended and synced on a majority,
//! and applied by every replica to its own [`store::State`].

mod absent;
mod answer;
mod appends;
mod authority;
mod authority_rotation;
mod beside;
mod certificates;
mod codec;
mod covered;
mod data_dir;
mod errors;
mod flusher;
mod founding;
mod giving_up;
mod group;
mod join;
mod keys;
mod latency;
mod leadership;
mod listener;
mod log;
mod network;
mod open;
mod paced;
mod peers;
mod pki;
mod proposer;
mod questions;
mod record;
mod recover;
mod removal;
mod removed;
mod restore;
mod rotation;
mod route;
mod rpc;
mod seal;
mod settings;
mod silence;
#[cfg(test)]
mod sim;
mod snapshot;
mod standing_again;
mod state_machine;
mod status;
mod store_impl;
#[cfg(test)]
mod suite_tests;
mod types;
mod vitals;
mod wal;
mod watermark;

pub use errors::{BackupError, OpenError};
pub use group::ChangeError;
pub use latency::Percentiles;
pub use pki::Trust;
pub use questions::{Respond, Said};
pub use recover::{recover_alone, restore};
pub use restore::{RestoreError, Restored};
pub use settings::{Join, Peers, Settings};
pub use status::{Member, Role, Status};
pub use store_impl::RaftStore;
pub use types::{Replica, ReplicaId};
pub use vitals::{Pulse, Vitals};
