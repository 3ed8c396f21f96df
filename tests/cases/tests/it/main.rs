//! Kuma's data-driven cases, one file a family.
