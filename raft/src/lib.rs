//! The replicated store: [`RaftStore`] is a [`store::Store`] that a group of replicas keeps, or one
//! alone.
//!
//! Only this crate knows openraft, sled and bincode. A transaction goes in at [`store::Store::commit`],
//! is encoded, proposed together with whatever else is waiting, appended and synced on a majority,
//! and applied by every replica to its own [`store::State`].

mod codec;
mod data_dir;
mod errors;
mod flusher;
mod keys;
mod latency;
mod leadership;
mod log;
mod network;
mod open;
mod proposer;
mod record;
mod seal;
mod settings;
mod sled_log;
mod snapshot;
mod state_machine;
mod status;
mod store_impl;
#[cfg(test)]
mod suite_tests;
mod types;

pub use errors::OpenError;
pub use latency::Percentiles;
pub use seal::Keyring;
pub use settings::Settings;
pub use status::{Member, Role, Status};
pub use store_impl::RaftStore;
pub use types::{Replica, ReplicaId};
