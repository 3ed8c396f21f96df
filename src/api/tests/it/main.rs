//! The API as its clients meet it: requests in, answers and the store's content out.

mod access;
mod negotiation;
mod reading;
mod server;
mod writing;
