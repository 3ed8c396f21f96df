//! Tests of all kinds: canonical forms and faults.

mod canonical;
mod faults;
