//! The duties of the one replica that leads: resources that the control plane itself keeps, derived
//! from what others wrote. MeshServices and Workloads from Dataplanes, virtual addresses, hostnames,
//! statuses, identities with their authorities and trusts, and the removal of what is dead.
//!
//! A duty is a pure function over a [`Pass`]: it reads the state and writes what should differ. All
//! duties of a pass become one transaction, so that proxies see a new service with its address and
//! its hostname at once. The [`runner`] calls them when the feed says that something changed, and
//! when a deadline of theirs comes.
//!
//! A pass looks at what changes can have made wrong ([`Focus`]) and finds what belongs together in an
//! [`Index`]: the cost of a change does not depend on what else there is. When everything is in focus
//! the outcome is the same, and a test holds that.

mod claims;
pub mod collection;
pub mod focus;
pub mod hostnames;
pub mod identities;
mod index;
pub mod insights;
mod keep;
mod label_propagation;
pub mod mesh_services;
pub mod multi_zone;
pub mod pass;
pub mod runner;
pub mod service_status;
pub mod settings;
pub mod vips;
pub mod workloads;

pub use focus::Focus;
pub use index::Index;
pub use keep::{Memory, keep_all};
pub use pass::Pass;
pub use runner::run;
pub use settings::DutySettings;

#[cfg(test)]
mod tests;
