//! Golden tests of the generators.
