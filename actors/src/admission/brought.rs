//! The Dataplane that a proxy brings along in its node metadata, and the labels that it is stored with.

use model::kinds::dataplane::Dataplane;
use model::labels::{self, Subject, ZONE};
use model::registry::DATAPLANE;
use model::{Document, Labels, Resource, Spec};
use serde_json::{Map, Value};
use xds::health;

use super::proxy_id::ProxyId;
use super::refusal::RegistrationError;
use crate::settings::Settings;

/// Fields of a document that are no part of its spec.
const ENVELOPE: [&str; 7] = ["type", "mesh", "name", "labels", "kri", "creationTime", "modificationTime"];

/// A Dataplane as its proxy describes it.
#[derive(Clone, Debug)]
pub(crate) struct BroughtDataplane {
    /// Its mesh and name.
    pub(crate) id: ProxyId,
    /// The labels that it was given, before computed ones.
    pub(crate) labels: Labels,
    /// Its spec, valid.
    pub(crate) spec: Spec,
}

impl BroughtDataplane {
    /// Reads the JSON document of a Dataplane.
    ///
    /// # Errors
    /// When it is none, or not a valid one.
    pub(crate) fn parse(text: &str) -> Result<Self, RegistrationError> {
        let invalid = |why: String| RegistrationError::Invalid(why);
        let mut fields: Map<String, Value> = serde_json::from_str(text).map_err(|e| invalid(e.to_string()))?;
        let text_of = |fields: &Map<String, Value>, name: &str| {
            fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let kind = text_of(&fields, "type");
        if kind != DATAPLANE.name {
            return Err(invalid(format!("invalid type {kind:?}, expected {:?}", DATAPLANE.name)));
        }
        let id = ProxyId { mesh: text_of(&fields, "mesh").into(), name: text_of(&fields, "name").into() };
        let labels: Labels = match fields.remove("labels") {
            None | Some(Value::Null) => Labels::new(),
            Some(labels) => serde_json::from_value(labels).map_err(|e| invalid(format!("labels: {e}")))?,
        };
        fields.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
        let spec = DATAPLANE.codec.admit(Value::Object(fields)).map_err(|e| invalid(e.to_string()))?;
        let document = Document { mesh: &id.mesh, name: &id.name, labels: &labels, spec: &spec };
        let violations = (DATAPLANE.codec.validate)(&document);
        if !violations.is_empty() {
            return Err(invalid(violations.to_string()));
        }
        Ok(Self { id, labels, spec })
    }

    /// The spec as it is stored: a delegated gateway says in which zone it is, and inbounds that are
    /// checked are what they were, or not ready.
    pub(crate) fn stored_spec(
        &self,
        settings: &Settings,
        stored: Option<&Resource>,
    ) -> Result<Spec, RegistrationError> {
        let invalid = |why: serde_json::Error| RegistrationError::Invalid(why.to_string());
        let Some(given) = self.spec.get::<Dataplane>() else { return Ok(self.spec.clone()) };
        let mut dataplane = given.clone();
        if let Some(gateway) = dataplane.networking.as_mut().and_then(|networking| networking.gateway.as_mut()) {
            gateway.tags.insert(ZONE.to_owned(), settings.zone.to_string());
        }
        if settings.health.is_some() {
            dataplane = health::brought(dataplane, stored.and_then(|stored| stored.spec()));
        }
        if dataplane == *given { Ok(self.spec.clone()) } else { Spec::of(dataplane).map_err(invalid) }
    }

    /// The labels as they are stored: given and computed ones.
    pub(crate) fn stored_labels(&self, settings: &Settings) -> Labels {
        let subject = Subject::new(DATAPLANE, &self.spec, &self.id.mesh, &self.id.name);
        // Only policies have roles that could be mixed.
        labels::compute(&self.labels, &subject, &settings.site()).unwrap_or_else(|_| self.labels.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stored_labels_are_the_given_and_the_computed_ones() {
        let brought = BroughtDataplane::parse(
            &json!({"type": "Dataplane", "mesh": "default", "name": "web-1",
                "labels": {"app": "web", "kuma.io/proxy-type": "sidecar", "kuma.io/listener-zoneegress": "enabled"},
                "networking": {"address": "10.0.0.1", "inbound": [{"port": 80}]}})
            .to_string(),
        )
        .unwrap();
        let labels = brought.stored_labels(&Settings { zone: "east".into(), ..Settings::default() });
        let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            labels,
            [
                ("app", "web"),
                ("kuma.io/display-name", "web-1"),
                ("kuma.io/env", "universal"),
                ("kuma.io/mesh", "default"),
                ("kuma.io/origin", "zone"),
                ("kuma.io/zone", "east"),
            ]
        );
    }

    #[test]
    fn delegated_gateway_says_in_which_zone_it_is() {
        let brought = BroughtDataplane::parse(
            &json!({"type": "Dataplane", "mesh": "default", "name": "gw", "networking": {"address": "10.0.0.1",
                "gateway": {"tags": {"kuma.io/service": "gw"}}}})
            .to_string(),
        )
        .unwrap();
        let spec = brought.stored_spec(&Settings { zone: "east".into(), ..Settings::default() }, None).unwrap();
        assert!(spec.json().contains(r#""kuma.io/zone":"east""#), "{}", spec.json());
    }

    #[test]
    fn what_is_no_dataplane_is_refused() {
        for text in ["", "[]", "{}", r#"{"type":"Mesh","name":"m"}"#, r#"{"type":"Dataplane","labels":7}"#] {
            assert!(BroughtDataplane::parse(text).is_err(), "{text}");
        }
    }
}
