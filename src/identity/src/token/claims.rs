//! What tokens claim. Names of Kuma's own claims are capitalised; they are read in any case.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Id of a token (`jti`), empty when it has none.
pub type TokenId = String;

/// Claims of one kind of token.
pub trait Claims: Serialize + Sized {
    /// Reads the claims of a verified token; what is missing is empty.
    ///
    /// # Errors
    /// When a claim has another type; the text is for the end of a message.
    fn read(claims: &Map<String, Value>) -> Result<Self, String>;
}

/// Claims of a user token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserClaims {
    /// Name of the user.
    pub name: String,
    /// Its groups; `null` when none were given.
    pub groups: Option<Vec<String>>,
}

/// Claims of a dataplane token; what is empty is not bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DataplaneClaims {
    /// Name of the Dataplane.
    pub name: String,
    /// Its mesh.
    pub mesh: String,
    /// Labels that it must carry, each with the values that are allowed.
    pub tags: BTreeMap<String, Vec<String>>,
    /// `dataplane` or empty; not looked at.
    #[serde(rename = "Type")]
    pub proxy_type: String,
    /// Value of its label `kuma.io/workload`.
    pub workload: String,
}

/// Claims of a zone token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ZoneClaims {
    /// Name of the zone.
    pub zone: String,
    /// What the token is good for; `null` when not given.
    pub scope: Option<Vec<String>>,
}

impl Claims for UserClaims {
    fn read(claims: &Map<String, Value>) -> Result<Self, String> {
        Ok(Self { name: text(claims, "Name")?, groups: list(claims, "Groups")? })
    }
}

impl Claims for DataplaneClaims {
    fn read(claims: &Map<String, Value>) -> Result<Self, String> {
        Ok(Self {
            name: text(claims, "Name")?,
            mesh: text(claims, "Mesh")?,
            tags: of(claims, "Tags")?.unwrap_or_default(),
            proxy_type: text(claims, "Type")?,
            workload: text(claims, "Workload")?,
        })
    }
}

impl Claims for ZoneClaims {
    fn read(claims: &Map<String, Value>) -> Result<Self, String> {
        Ok(Self { zone: text(claims, "Zone")?, scope: list(claims, "Scope")? })
    }
}

/// The claim with this name, spelled so or in any other case.
pub(super) fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| claims.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn of<T: serde::de::DeserializeOwned>(claims: &Map<String, Value>, name: &str) -> Result<Option<T>, String> {
    match claim(claims, name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::deserialize(value).map(Some).map_err(|e| format!("{name}: {e}")),
    }
}

pub(super) fn text(claims: &Map<String, Value>, name: &str) -> Result<String, String> {
    Ok(of(claims, name)?.unwrap_or_default())
}

fn list(claims: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, String> {
    of(claims, name)
}
