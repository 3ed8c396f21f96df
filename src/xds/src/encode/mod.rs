//! From typed messages to the bytes that proxies get: one canonical form for one content, hashed,
//! equal in every process.

mod canonical;
mod tables;
mod template;

use std::sync::Arc;

use prost::{Message, Name};

pub use canonical::canonicalize;
pub use template::Template;

use crate::proxy_config::{ContentHash, EncodedResource, ResourceType};

/// Encodes one resource.
pub fn encode<T: Message + Name>(ty: ResourceType, name: &str, message: &T) -> EncodedResource {
    let mut body = message.encode_to_vec();
    canonicalize(&T::full_name(), &mut body);
    EncodedResource { ty, name: Arc::from(name), hash: ContentHash::of(&body), body: body.into() }
}

#[cfg(test)]
mod tests;
