//! Tests of all kinds: canonical forms and faults.

mod canonical;
mod faults;
mod policy_faults;
