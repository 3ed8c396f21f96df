//! The `quickstart` binary.

fn main() {}
