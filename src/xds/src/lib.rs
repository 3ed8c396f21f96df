//! From a mesh to Envoy: the picture of a mesh, what one proxy of it should run, and the
//! conversation in which the proxy learns of it.
//!
//! This crate is pure: no I/O, no clock, no randomness. What it needs of time is passed in.

pub mod blame;
pub mod bootstrap;
pub mod encode;
pub mod envoy;
pub mod generators;
pub mod health;
pub mod inspect;
pub mod json;
pub mod names;
pub mod policies;
pub mod proxy;
pub mod proxy_config;
pub mod resource_set;
pub mod session;
pub mod view;
#[cfg(test)]
pub(crate) mod world;

pub use model::Kri;
pub use model::kinds::protocol::{self, Protocol};
pub use proxy::{Counters, IdentitySource, Memo, ProxyInputs, WorkloadIdentity, generate};
pub use proxy_config::{ContentHash, EncodedResource, Entry, PolicyFault, ProxyConfig, ResourceType};
pub use resource_set::{Messages, Origin, ResourceSet};
pub use session::Session;
pub use view::{MeshView, Touched, ViewSettings};
