//! The replicated store, seen from outside.

mod alone;
mod fixture;
mod group;
mod restart;
