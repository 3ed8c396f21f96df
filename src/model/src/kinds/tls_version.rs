//! Versions of TLS.

use serde::{Deserialize, Serialize};

use super::rules::one_of;
use super::text_enum::text_enum;
use crate::schema::{self, Schema};
use crate::violation::Violations;

text_enum! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// Whatever Envoy takes.
        Auto = "TLSAuto",
        /// 1.0.
        Tls10 = "TLS10",
        /// 1.1.
        Tls11 = "TLS11",
        /// 1.2.
        Tls12 = "TLS12",
        /// 1.3.
        Tls13 = "TLS13",
    }
}

/// A range of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsVersionRange {
    /// The lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<TlsVersion>,
    /// The highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<TlsVersion>,
}

/// Schema of a [`TlsVersionRange`].
pub(crate) fn range_schema() -> Schema {
    let version = || schema::choice(TlsVersion::TEXTS).default_to("TLSAuto");
    schema::object([("min", version()), ("max", version())])
}

impl TlsVersionRange {
    /// The faults of the range.
    pub(crate) fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        for (field, version) in [("min", &self.min), ("max", &self.max)] {
            if version.as_ref().is_some_and(|version| !version.is_known()) {
                faults.add(field, one_of(field, TlsVersion::TEXTS));
            }
        }
        if let (Some(min), Some(max)) = (&self.min, &self.max)
            && *min != TlsVersion::Auto
            && *max != TlsVersion::Auto
            && min.is_known()
            && max.is_known()
            && min > max
        {
            faults.add("min", "min version must be lower than max");
        }
        faults
    }
}
