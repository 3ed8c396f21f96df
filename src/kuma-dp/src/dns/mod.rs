//! The embedded DNS server: names of the mesh are answered from a table, all else goes to the
//! machine's own resolvers.

mod answer;
mod records;
mod server;
mod upstream;

pub(crate) use records::{DnsHandler, SharedRecords};
pub(crate) use server::{DnsServer, listen_addresses};
pub(crate) use upstream::Upstreams;
