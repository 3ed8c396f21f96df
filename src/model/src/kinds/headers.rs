//! HTTP headers in policies: names, matches and changes.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;
use crate::schema::{self, Schema};

text_enum! {
    /// How a header is compared.
    pub enum HeaderMatchType {
        /// Equal.
        Exact = "Exact",
        /// Is there.
        Present = "Present",
        /// Matches an expression.
        RegularExpression = "RegularExpression",
        /// Is not there.
        Absent = "Absent",
        /// Starts with.
        Prefix = "Prefix",
    }
}

/// A match of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderMatch {
    /// How it is compared; absent means equal.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<HeaderMatchType>,
    /// Its name.
    pub name: String,
    /// Its value, the beginning of it or an expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

impl HeaderMatch {
    /// How it is compared.
    pub fn match_type(&self) -> &HeaderMatchType {
        self.kind.as_ref().unwrap_or(&HeaderMatchType::Exact)
    }
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderKeyValue {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Headers that are set and added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderAdditions {
    /// Headers that replace what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Vec<HeaderKeyValue>>,
    /// Headers beside what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add: Option<Vec<HeaderKeyValue>>,
}

/// Most headers that one list may change.
const CHANGES_MAX: usize = 16;

/// Schema of a header's name.
pub(crate) fn name_schema() -> Schema {
    schema::string().min_len(1).max_len(256).pattern(r"^[a-z0-9!#$%&'*+\-.^_\x60|~]+$")
}

/// Schema of a [`HeaderMatch`].
pub(crate) fn match_schema() -> Schema {
    schema::object([
        ("type", schema::choice(HeaderMatchType::TEXTS).default_to("Exact")),
        ("name", name_schema()),
        ("value", schema::string()),
    ])
    .required(&["name"])
}

fn list_schema() -> Schema {
    let header = schema::object([("name", name_schema()), ("value", schema::string())]);
    schema::array(header.required(&["name", "value"])).max_items(CHANGES_MAX)
}

/// Schema of [`HeaderAdditions`].
pub(crate) fn additions_schema() -> Schema {
    schema::object([("set", list_schema()), ("add", list_schema())])
}

/// Schema of headers that are set, added and removed.
pub(crate) fn modifier_schema() -> Schema {
    let remove = schema::array(schema::string()).max_items(CHANGES_MAX);
    schema::object([("set", list_schema()), ("add", list_schema()), ("remove", remove)])
}
