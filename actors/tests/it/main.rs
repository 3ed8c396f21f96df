//! The discovery service as a proxy sees it: real gRPC streams over loopback, the memory store behind.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test that cannot go on fails")]

mod addresses;
mod admission;
mod health;
mod identity;
mod propagation;
mod refusals;
mod streams;
mod verify;
mod world;
