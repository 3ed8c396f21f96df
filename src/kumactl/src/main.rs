//! The `kumactl` binary.

fn main() {}
