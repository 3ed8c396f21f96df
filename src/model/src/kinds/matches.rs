//! Matches of inbound rules: who calls, and for which server name.

use serde::{Deserialize, Serialize};

use super::rules::MUST_BE_SET;
use super::text_enum::text_enum;
use crate::names::dns_1123_subdomain;
use crate::schema::{self, Schema};
use crate::spiffe;
use crate::violation::Violations;

text_enum! {
    /// How a SPIFFE ID is compared.
    pub enum SpiffeMatchType {
        /// Equal.
        Exact = "Exact",
        /// Starts with.
        Prefix = "Prefix",
    }
}

text_enum! {
    /// How a server name is compared.
    pub enum SniMatchType {
        /// Equal.
        Exact = "Exact",
    }
}

/// The caller's SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpiffeIdMatch {
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: SpiffeMatchType,
    /// The identifier or its beginning.
    pub value: String,
}

/// The server name of the TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SniMatch {
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: SniMatchType,
    /// The name.
    pub value: String,
}

/// One match: all of its fields must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Match {
    /// The caller's SPIFFE ID.
    #[serde(rename = "spiffeID", skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<SpiffeIdMatch>,
    /// The server name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<SniMatch>,
}

impl Match {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.spiffe_id.is_none() && self.sni.is_none()
    }
}

/// Schema of a [`Match`].
pub(crate) fn schema() -> Schema {
    let field = |types: &[&str]| {
        schema::object([("type", schema::choice(types)), ("value", schema::string())]).required(&["type", "value"])
    };
    schema::object([("spiffeID", field(SpiffeMatchType::TEXTS)), ("sni", field(SniMatchType::TEXTS))])
}

impl Match {
    /// The faults of the match that all policies look for.
    pub(crate) fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if let Some(Err(why)) = self.spiffe_id.as_ref().map(|id| spiffe::SpiffeId::parse(&id.value)) {
            faults.add("spiffeID", format!("must be a valid Spiffe ID: {why}"));
        }
        if let Some(sni) = &self.sni {
            match &sni.kind {
                SniMatchType::Exact => {}
                SniMatchType::Unknown(text) if text.is_empty() => faults.add("sni.type", MUST_BE_SET),
                SniMatchType::Unknown(text) => {
                    faults.add("sni.type", format!("unrecognized type {text:?}, supported values are: Exact"));
                }
            }
            if sni.value.is_empty() {
                faults.add("sni.value", MUST_BE_SET);
            } else {
                for message in dns_1123_subdomain(&sni.value) {
                    faults.add("sni.value", message);
                }
            }
        }
        faults
    }

    /// The faults of the match, for policies that refuse matches of nothing and SPIFFE types that
    /// are not known.
    pub(crate) fn strict_faults(&self) -> Violations {
        let mut faults = Violations::new();
        if self.is_empty() {
            faults.add("", "must specify at least one of 'spiffeID' or 'sni'");
            return faults;
        }
        if let Some(SpiffeMatchType::Unknown(text)) = self.spiffe_id.as_ref().map(|id| &id.kind) {
            if text.is_empty() {
                faults.add("spiffeID.type", MUST_BE_SET);
            } else {
                faults.add("spiffeID.type", format!("unrecognized type {text:?}, supported values are: Exact, Prefix"));
            }
        }
        faults.append(self.faults());
        faults
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn matches_are_checked_in_kumas_words() {
        for (raw, expected) in [
            (
                json!({"spiffeID": {"type": "Exact", "value": "spiffe://td/a"}, "sni": {"type": "Exact", "value": "a.b"}}),
                "",
            ),
            (json!({}), ": must specify at least one of 'spiffeID' or 'sni'"),
            (
                json!({"spiffeID": {"type": "Prefix", "value": "td/a"}}),
                "spiffeID: must be a valid Spiffe ID: scheme is missing or invalid",
            ),
            (
                json!({"spiffeID": {"type": "Odd", "value": "spiffe://td/a"}}),
                r#"spiffeID.type: unrecognized type "Odd", supported values are: Exact, Prefix"#,
            ),
            (json!({"sni": {"type": "", "value": ""}}), "sni.type: must be set; sni.value: must be set"),
            (
                json!({"sni": {"type": "Prefix", "value": "a"}}),
                r#"sni.type: unrecognized type "Prefix", supported values are: Exact"#,
            ),
        ] {
            let given: Match = serde_json::from_value(raw.clone()).expect("a match");
            assert_eq!(given.strict_faults().to_string(), expected, "{raw}");
        }
    }
}
