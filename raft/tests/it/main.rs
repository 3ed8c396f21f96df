//! The replicated store, seen from outside.
#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails, as it should")]

mod alone;
mod authority;
mod disaster;
mod fixture;
mod group;
mod held_back;
mod members;
mod restart;
mod thief;
