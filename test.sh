#!/usr/bin/env bash
# Builds everything and runs all tests, real Envoys included. Options go to the tests, as a name.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --workspace
cargo test --workspace --no-fail-fast -- --nocapture --quiet "$@"
