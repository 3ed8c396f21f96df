//! Filters of lists: `name`, `filter[labels.…]`, and for dataplanes `gateway` and `tag`.

use std::collections::BTreeMap;

use model::{Kind, Resource, Violations, registry};
use serde_json::Value;

use crate::call::Call;
use crate::errors::Problem;

/// Which dataplanes the parameter `gateway` lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gateway {
    Any,
    None,
    Delegated,
}

/// What a resource must satisfy to be on the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    name: String,
    labels: BTreeMap<String, String>,
    gateway: Option<Gateway>,
    tags: BTreeMap<String, String>,
}

impl Filters {
    /// Reads the filters of a list of `kind`.
    pub(crate) fn parse(call: &Call, kind: Kind, title: &str) -> Result<Self, Problem> {
        let mut faults = Violations::new();
        let mut filters = Self { name: call.query.get("name").unwrap_or_default().to_owned(), ..Self::default() };
        for (key, value) in call.query.iter().filter(|(key, _)| key.starts_with("filter[")) {
            match label_of(key) {
                Ok(label) => {
                    filters.labels.insert(label.to_owned(), value.to_owned());
                }
                Err(why) => faults.add(format!("{}.{key}", call.template), why),
            }
        }
        if kind == registry::DATAPLANE {
            filters.parse_dataplane(call, &mut faults);
        }
        faults.into_result().map_err(|faults| Problem::invalid(title, faults))?;
        Ok(filters)
    }

    fn parse_dataplane(&mut self, call: &Call, faults: &mut Violations) {
        let gateway = call.query.get("gateway").unwrap_or_default().to_lowercase();
        self.gateway = match gateway.as_str() {
            "" => None,
            "true" => Some(Gateway::Any),
            "false" => Some(Gateway::None),
            "delegated" => Some(Gateway::Delegated),
            other => {
                let why = format!("should use `true`, `false` or `delegated` instead of {other}");
                faults.add(format!("{}.gateway", call.template), why);
                None
            }
        };
        self.tags = call
            .query
            .all("tag")
            .filter_map(|tag| tag.split_once(':'))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
    }

    /// Only the part of the name.
    pub(crate) fn by_name(call: &Call) -> Self {
        Self { name: call.query.get("name").unwrap_or_default().to_owned(), ..Self::default() }
    }

    /// Whether the resource is on the list.
    pub(crate) fn admit(&self, resource: &Resource) -> bool {
        resource.key.name.contains(&self.name)
            && self.labels.iter().all(|(key, value)| resource.label(key) == Some(value))
            && self.admit_dataplane(resource)
    }

    fn admit_dataplane(&self, resource: &Resource) -> bool {
        if self.gateway.is_none() && self.tags.is_empty() {
            return true;
        }
        let spec: Value = serde_json::from_str(resource.spec.json()).unwrap_or_default();
        let gateway = &spec["networking"]["gateway"];
        let fits = match self.gateway {
            None => true,
            Some(Gateway::Any) => !gateway.is_null(),
            Some(Gateway::None) => gateway.is_null(),
            // The only type that is left; it is the default, so it is usually not written.
            Some(Gateway::Delegated) => {
                !gateway.is_null() && matches!(gateway["type"].as_str(), None | Some("DELEGATED"))
            }
        };
        fits && (self.fits_tags(|key| gateway["tags"][key].as_str()) || self.fits_tags(|key| resource.label(key)))
    }

    fn fits_tags<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.tags.iter().all(|(key, wanted)| value_of(key).is_some_and(|value| wanted == "*" || value.contains(wanted)))
    }
}

/// The label that a parameter `filter[labels.KEY]` names.
fn label_of(parameter: &str) -> Result<&str, &'static str> {
    let inner = parameter.strip_prefix("filter[").unwrap_or_default();
    let (inner, rest) = inner.split_once(']').ok_or("filters are only supported on labels")?;
    let label = inner.strip_prefix("labels.").ok_or("filters are only supported on labels")?;
    if rest.is_empty() { Ok(label) } else { Err("advanced filters are not supported") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_label_filters_are_understood() {
        assert_eq!(label_of("filter[labels.k8s.kuma.io/namespace]"), Ok("k8s.kuma.io/namespace"));
        assert_eq!(label_of("filter[labels.k][eq]"), Err("advanced filters are not supported"));
        assert_eq!(label_of("filter[name]"), Err("filters are only supported on labels"));
        assert_eq!(label_of("filter[labels.foo"), Err("filters are only supported on labels"));
    }
}
