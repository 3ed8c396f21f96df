//! MeshZoneAddress: the public address of a mesh's zone ingress.

use serde::{Deserialize, Serialize};

use super::registered::{SpecType, plain};
use super::rules::{self, MUST_NOT_BE_EMPTY};
use crate::codec::Codec;
use crate::names::{is_host, is_unspecified};
use crate::schema::{self, Schema};
use crate::violation::Violations;
use std::sync::LazyLock;

/// Spec of a MeshZoneAddress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshZoneAddress {
    /// An IP address or a name.
    pub address: String,
    /// A port.
    pub port: i32,
}

impl SpecType for MeshZoneAddress {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            schema::object([
                ("address", schema::string().min_len(1)),
                ("port", schema::int32().at_least(1).at_most(65535)),
            ])
            .required(&["address", "port"])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        if self.address.is_empty() {
            faults.add("spec.address", MUST_NOT_BE_EMPTY);
        } else if is_unspecified(&self.address) {
            faults.add("spec.address", "must not be 0.0.0.0 or ::");
        } else if !is_host(&self.address) {
            faults.add("spec.address", "must be a valid IP address or domain name");
        }
        rules::port(faults, "spec.port", self.port.into());
    }
}

pub(crate) const CODEC: Codec = plain::<MeshZoneAddress>();
