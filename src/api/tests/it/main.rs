//! The API as its clients meet it: requests in, answers and the store's content out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod admin;
mod negotiation;
mod reading;
mod replicas;
mod server;
mod writing;
