//! The replicated store, seen from outside.

mod alone;
mod disaster;
mod fixture;
mod group;
mod restart;
