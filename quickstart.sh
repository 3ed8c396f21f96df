#!/usr/bin/env bash
# Builds everything and shows a mesh of real Envoys on this machine. Options go to the quickstart.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --workspace
exec target/debug/quickstart "$@"
