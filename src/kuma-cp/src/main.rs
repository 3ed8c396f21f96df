//! The `kuma-cp` binary.

fn main() {}
