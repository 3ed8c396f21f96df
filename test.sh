#!/usr/bin/env bash
# Builds everything and runs all tests, real Envoys included. Options go to the tests, as a name.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --workspace
status=0
cargo test --workspace --no-fail-fast -- --nocapture --quiet "$@" || status=$?
if [ $# -eq 0 ]; then
    # The simulated groups, with all dice seeded: a failure says how to repeat it exactly. Their small
    # files are synced often, so they are kept in memory where that is possible.
    [ -w /dev/shm ] && export TMPDIR=/dev/shm
    RUSTFLAGS="--cfg tokio_unstable" CARGO_TARGET_DIR=target/seeded RAFT_SIM_SEEDS=200 \
        cargo test -p raft --lib -- --nocapture --quiet sim:: || status=$?
fi
exit "$status"
