//! Kuma's data-driven cases, one file a family.

mod bootstrap;
mod documents;
mod envoyconfig;
mod generator;
mod health;
mod kumactl;
mod matchers;
mod rest;
mod rest_crud;
mod rest_inspect;
mod rules;
mod variants;
