//! Holds the tree to what `ARCHITECTURE.md` says of it; see `tests/it`.
