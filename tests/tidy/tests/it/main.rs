//! The tree is as `ARCHITECTURE.md` says: floors, what is absent from a crate, heads of files,
//! no orphans, no long files and functions beyond those that the ratchet knows.

mod docs;
mod floors;
mod ratchet;
mod sources;
