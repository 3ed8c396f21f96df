//! The `kuma-dp` binary.

fn main() {}
