//! Kuma's data-driven cases, one file a family.

mod bootstrap;
mod documents;
mod matchers;
mod rules;
mod variants;
