//! `kuma-cp`: the control plane.

mod settings;

fn main() {}
