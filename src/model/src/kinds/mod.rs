//! Typed specs: one file a kind, each with its defaults, its validation and its tests.
