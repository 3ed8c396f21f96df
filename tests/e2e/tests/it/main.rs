//! End to end: real processes, real Envoys, real requests.

mod bad_input;
mod kumactl;
mod nack;
mod observe;
mod permission;
mod replicas;
mod restart;
mod rotation;
mod spread;
mod stateful_set;
mod timeout;
mod world;
