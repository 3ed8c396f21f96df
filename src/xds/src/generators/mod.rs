//! What a proxy runs before policies edit it: one file per generator. Each is a function of plain
//! inputs, so that what is equal for many proxies can be made once.

pub mod admin;
pub mod blocks;
pub mod dataplane;
pub mod direct_access;
pub mod dns;
pub mod dynamic_config;
pub mod external_service;
pub mod external_tls;
pub mod identity;
pub mod inbound;
pub mod internal_addresses;
pub mod outbound;
pub mod tls;
pub mod transparent_proxy;
pub mod zone_egress;
pub mod zone_ingress;
pub mod zone_listener;

#[cfg(test)]
mod tests;
