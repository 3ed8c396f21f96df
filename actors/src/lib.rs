//! The running control plane: one actor a mesh, one actor a connected proxy, the discovery service
//! that proxies connect to, and the duties of the leader.
//!
//! A change travels one way: the store's feed wakes the actor of its mesh, which folds it into a
//! new view and tells the proxies that the view touches; each of those makes its configuration and
//! offers it to its session, which sends what differs. Answers travel back into the propagation of
//! the mesh and into insights. Decisions live in plain types (`xds::Session`, `propagation`); the
//! actors around them receive and send.

pub mod authority;
pub mod duties;

mod admission;
mod ads;
mod control_plane;
mod dataplane;
mod health;
mod hub;
mod identities;
mod insights;
mod mesh;
mod metrics;
mod names;
mod propagation;
mod recent;
mod runtime;
mod settings;
mod shared;

pub use admission::{Authentication, ProxyId, ProxyIdError, Refusal, RegistrationError};
pub use ads::{AdsService, Closing};
pub use control_plane::{ConnectedProxy, ControlPlane};
pub use health::HealthService;
pub use names::{Names, SystemNames};
pub use propagation::{PendingProxy, Propagation, RefusedResource, RejectingProxy};
pub use recent::RecentPropagation;
pub use runtime::RuntimeError;
pub use settings::Settings;
