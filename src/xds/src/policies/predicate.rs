//! Matches of clients as predicates of Envoy's matching API.

use model::kinds::matches::{Match, SniMatchType, SpiffeMatchType};

use crate::envoy::pack;
use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::ServerNameInput;
use envoy_types::pb::envoy::extensions::matching::common_inputs::ssl::v3::UriSanInput;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::Predicate;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, PredicateList, SinglePredicate, single_predicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern;

/// The predicate of one match; `None` when it says nothing, or something that is not known.
pub(super) fn of(matched: &Match) -> Option<Predicate> {
    let spiffe_id = match &matched.spiffe_id {
        Some(id) => Some(uri_san(match id.kind {
            SpiffeMatchType::Exact => MatchPattern::Exact(id.value.clone()),
            SpiffeMatchType::Prefix => MatchPattern::Prefix(id.value.clone()),
            SpiffeMatchType::Unknown(_) => return None,
        })),
        None => None,
    };
    let sni = match &matched.sni {
        Some(sni) => Some(match sni.kind {
            SniMatchType::Exact => server_name(MatchPattern::Exact(sni.value.clone())),
            SniMatchType::Unknown(_) => return None,
        }),
        None => None,
    };
    match (spiffe_id, sni) {
        (Some(id), Some(sni)) => Some(all_of(vec![id, sni])),
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => None,
    }
}

/// Everyone who shows a certificate, whatever it says.
pub(super) fn everyone() -> Predicate {
    let named = uri_san(MatchPattern::Prefix("spiffe://".to_owned()));
    let nameless = not(named.clone());
    Predicate { match_type: Some(MatchType::OrMatcher(PredicateList { predicate: vec![named, nameless] })) }
}

/// Any of these; `None` when there are none.
pub(super) fn any_of(mut predicates: Vec<Predicate>) -> Option<Predicate> {
    match predicates.len() {
        0 => None,
        1 => predicates.pop(),
        _ => Some(Predicate { match_type: Some(MatchType::OrMatcher(PredicateList { predicate: predicates })) }),
    }
}

/// The opposite.
pub(super) fn not(predicate: Predicate) -> Predicate {
    Predicate { match_type: Some(MatchType::NotMatcher(Box::new(predicate))) }
}

fn all_of(predicate: Vec<Predicate>) -> Predicate {
    Predicate { match_type: Some(MatchType::AndMatcher(PredicateList { predicate })) }
}

fn uri_san(pattern: MatchPattern) -> Predicate {
    single(extension("envoy.matching.inputs.uri_san", &UriSanInput {}), pattern)
}

fn server_name(pattern: MatchPattern) -> Predicate {
    single(extension("envoy.matching.inputs.server_name", &ServerNameInput {}), pattern)
}

fn single(input: TypedExtensionConfig, pattern: MatchPattern) -> Predicate {
    let value = StringMatcher { match_pattern: Some(pattern), ..Default::default() };
    Predicate {
        match_type: Some(MatchType::SinglePredicate(SinglePredicate {
            input: Some(input),
            matcher: Some(single_predicate::Matcher::ValueMatch(value)),
        })),
    }
}

/// A named extension with its configuration.
pub(super) fn extension<T: prost::Message + prost::Name>(name: &str, config: &T) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(pack(config)) }
}
