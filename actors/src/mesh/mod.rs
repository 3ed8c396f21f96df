//! The actor of a mesh, and who watches over it.

mod actor;
mod addresses;
mod supervisor;
mod view;

pub(crate) use supervisor::supervise;
