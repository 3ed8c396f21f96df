//! The REST API: Kuma's paths, bodies, status codes and words, over the store.
//!
//! [`router`] is the whole API as one service; listeners, TLS and the parts that it asks
//! ([`ApiState`]) are wired by the binary. Nothing below this crate knows HTTP; what goes wrong
//! becomes an answer in [`errors`], and nowhere else.

mod auth;
mod call;
mod cors;
mod direct_admin;
mod endpoints;
mod envoy_admin;
pub mod errors;
mod faults;
mod filters;
pub mod group;
mod gui;
mod insights;
mod inspect;
mod json;
mod meta;
mod paging;
pub mod propagation;
mod replicas;
mod resources;
mod routes;
pub mod running;
mod server;
mod settings;
mod tokens;
mod writable;

pub use call::Connection;
pub use direct_admin::DirectAdmin;
pub use server::router;
pub use settings::{ApiState, GuiSettings, Settings};
