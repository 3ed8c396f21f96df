//! Messages that differ in a few of their outermost fields: what they have in common is encoded once.

use std::cmp::Ordering;
use std::sync::Arc;

use prost::{Message, Name};

use super::canonical::{canonicalize, next_field};
use crate::proxy_config::{ContentHash, EncodedResource, ResourceType};

/// An encoded resource that lacks some outermost fields.
#[derive(Debug)]
pub struct Template {
    ty: ResourceType,
    name: Arc<str>,
    body: Vec<u8>,
}

impl Template {
    /// What resources of this name have in common: a message without the fields that are to be filled in.
    pub fn new<T: Message + Name>(ty: ResourceType, name: &str, common: &T) -> Self {
        Self { ty, name: name.into(), body: canonical(common) }
    }

    /// Name of the resources.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The resource with these fields, as if all of it had been encoded at once. The fields of a message
    /// are encoded in the order of their numbers; `own` has none that the template has.
    pub fn with<T: Message + Name>(&self, own: &T) -> EncodedResource {
        let body = in_order(&self.body, &canonical(own));
        EncodedResource { ty: self.ty, name: Arc::clone(&self.name), hash: ContentHash::of(&body), body: body.into() }
    }
}

fn canonical<T: Message + Name>(message: &T) -> Vec<u8> {
    let mut body = message.encode_to_vec();
    canonicalize(&T::full_name(), &mut body);
    body
}

/// The fields of both messages, in the order of their numbers.
fn in_order(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut merged = Vec::with_capacity(a.len() + b.len());
    let (mut at_a, mut at_b) = (0, 0);
    loop {
        let (field_a, field_b) = (next_field(a, at_a), next_field(b, at_b));
        let order = match (&field_a, &field_b) {
            (Some(one), Some(other)) => one.number.cmp(&other.number),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return merged,
        };
        if let Some(field) = field_a.filter(|_| order.is_le()) {
            merged.extend_from_slice(&a[field.start..field.end]);
            at_a = field.end;
        }
        if let Some(field) = field_b.filter(|_| order.is_gt()) {
            merged.extend_from_slice(&b[field.start..field.end]);
            at_b = field.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::encode;
    use crate::envoy::core::Metadata;
    use crate::envoy::listener::{FilterChain, Listener};
    use crate::envoy::socket_address;
    use crate::envoy::string_struct;

    proptest! {
        #[test]
        fn filled_template_is_what_is_encoded_at_once(
            name in "[a-z]{0,200}",
            chains in 0..4_usize,
            port in any::<u16>(),
            keys in prop::collection::btree_map("[a-z]{1,9}", "[a-z]{0,40}", 0..9),
            stat_prefix in "[a-z]{0,20}",
        ) {
            let chain = |n| FilterChain { name: format!("{name}-{n}"), ..FilterChain::default() };
            let fields = string_struct(keys.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            let metadata =
                Metadata { filter_metadata: [("io.kuma.tags".to_owned(), fields)].into(), ..Metadata::default() };
            let common = Listener {
                name: name.clone(),
                filter_chains: (0..chains).map(chain).collect(),
                stat_prefix,
                ..Listener::default()
            };
            let own = Listener {
                address: Some(socket_address("10.0.0.1", port)),
                metadata: Some(metadata),
                ..Listener::default()
            };
            let whole = Listener { address: own.address.clone(), metadata: own.metadata.clone(), ..common.clone() };
            let filled = Template::new(ResourceType::Listener, &name, &common).with(&own);
            prop_assert_eq!(filled, encode(ResourceType::Listener, &name, &whole));
        }
    }
}
