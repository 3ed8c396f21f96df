//! Matching and merging, from resources to rules.

mod backends;
mod fixtures;
mod inbound;
mod outbound;
mod selection;
mod sharing;
