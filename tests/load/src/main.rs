//! The `load` binary.

fn main() {}
