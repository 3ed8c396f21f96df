//! Which hostnames destinations claim by the generators, and who gets one that several claim.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::go_template::{Data, GoTemplate};
use model::kinds::hostname_generator::HostnameGenerator;
use model::kinds::selector::LabelSelector;
use model::kri::display_name;
use model::labels::{NAMESPACE, ORIGIN, ZONE};
use model::registry::{HOSTNAME_GENERATOR, MESH_EXTERNAL_SERVICE, MESH_SERVICE};
use model::{Change, Key, Kind, Resource, Timestamp};
use store::State;

use super::focus::Focus;
use super::settings::DutySettings;

/// All generators: those of the zone first, then by age and name. The first of two that claim a
/// hostname gets it.
#[derive(Debug)]
pub struct Generators {
    in_order: Vec<Generator>,
    zone: String,
}

#[derive(Debug)]
struct Generator {
    name: String,
    spec: HostnameGenerator,
    template: Result<GoTemplate, String>,
}

impl Generators {
    /// The generators of a state.
    pub fn of(state: &State, settings: &DutySettings) -> Self {
        let mut all: Vec<_> = state.of_kind(HOSTNAME_GENERATOR).collect();
        all.sort_by_key(|r| (r.label(ORIGIN) != Some("zone"), r.meta.creation_time, Arc::clone(&r.key.name)));
        let read = |resource: &Arc<Resource>| {
            let spec = resource.spec::<HostnameGenerator>()?.clone();
            let template = GoTemplate::parse(&spec.template);
            let template = template.map_err(|error| format!("failed compiling gotemplate error=\"{error}\""));
            Some(Generator { name: resource.key.name.to_string(), spec, template })
        };
        Self { in_order: all.into_iter().filter_map(read).collect(), zone: settings.zone.clone() }
    }

    /// The name of a generator.
    pub(super) fn name(&self, rank: usize) -> &str {
        self.in_order.get(rank).map_or("", |generator| &generator.name)
    }

    /// What each generator that selects a destination makes of it.
    fn render(&self, destination: &Resource) -> Vec<Rendered> {
        let selects = |generator: &Generator| {
            let selector = selector(&generator.spec, destination.key.kind);
            selector.is_some_and(|selector| selector.matches(&destination.meta.labels))
        };
        let selecting = self.in_order.iter().enumerate().filter(|(_, generator)| selects(generator));
        let render = |(rank, generator): (usize, &Generator)| {
            let template = generator.template.as_ref().map_err(String::clone);
            (rank, template.and_then(|template| render(template, destination, &self.zone)))
        };
        selecting.map(render).collect()
    }
}

fn selector(generator: &HostnameGenerator, kind: Kind) -> Option<&LabelSelector> {
    let selector = &generator.selector;
    if kind == MESH_SERVICE {
        selector.mesh_service.as_ref()
    } else if kind == MESH_EXTERNAL_SERVICE {
        selector.mesh_external_service.as_ref()
    } else {
        selector.mesh_multi_zone_service.as_ref()
    }
}

fn render(template: &GoTemplate, destination: &Resource, local_zone: &str) -> Result<String, String> {
    let label = |key: &str| destination.label(key).map(str::to_owned);
    let fields = BTreeMap::from([
        ("Name", destination.key.name.to_string()),
        ("DisplayName", display_name(destination).to_owned()),
        ("Namespace", label(NAMESPACE).unwrap_or_default()),
        ("Mesh", destination.key.mesh.to_string()),
        ("Zone", label(ZONE).unwrap_or_else(|| local_zone.to_owned())),
    ]);
    let hostname = template
        .render(&Data { fields: &fields, label: &label })
        .map_err(|error| format!("pre evaluation of template with parameters failed with error=\"{error}\""))?;
    let faults = model::names::dns_1123_subdomain(&hostname);
    if faults.is_empty() {
        Ok(hostname)
    } else {
        Err(format!("generated hostname \"{hostname}\" is not a valid DNS name: {}", faults.join(", ")))
    }
}

/// A generator, by its rank, and the hostname that it made, or why it made none.
pub(super) type Rendered = (usize, Result<String, String>);

/// Who claims a hostname: the rank of the generator, then the age and the key of the destination.
type Claim = (usize, Timestamp, Key);

/// The claims of the destinations of a mesh. Destinations of different kinds may share a hostname.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    rendered: OrdMap<Key, Arc<Vec<Rendered>>>,
    claims: OrdMap<(Kind, String), OrdSet<Claim>>,
}

impl Claims {
    /// Follows a change of a destination; whose hostnames can be others for it is put into `focus`.
    pub(super) fn follow(&mut self, change: &Change, generators: &Generators, focus: &mut Focus) {
        let key = &change.key;
        if change.after.is_some() {
            focus.hostnames.insert(key.clone());
        }
        let claimant =
            |resource: &Option<Arc<Resource>>| resource.as_ref().map(|r| (r.meta.labels.clone(), r.meta.creation_time));
        if claimant(&change.before) == claimant(&change.after) {
            return;
        }
        let mut contested = BTreeSet::new();
        let gone = self.rendered.remove(key).unwrap_or_default();
        if let Some(before) = &change.before {
            contested.extend(claims(before, &gone));
        }
        if let Some(after) = &change.after {
            let rendered = generators.render(after);
            contested.extend(claims(after, &rendered));
            self.rendered.insert(key.clone(), Arc::new(rendered));
        }
        for (hostname, claim) in contested {
            let place = (key.kind, hostname);
            let winner = self.claims.get(&place).and_then(OrdSet::get_min).cloned();
            self.settle(&place, claim, change);
            let next = self.claims.get(&place).and_then(OrdSet::get_min).cloned();
            if winner != next {
                focus.hostnames.extend([winner, next].into_iter().flatten().map(|(_, _, key)| key));
            }
        }
    }

    /// Adds or removes a claim, as the destination has it now.
    fn settle(&mut self, place: &(Kind, String), claim: Claim, change: &Change) {
        let has = |rendered: &Arc<Vec<Rendered>>| {
            rendered.iter().any(|(rank, made)| *rank == claim.0 && made.as_ref() == Ok(&place.1))
        };
        let is_made = self.rendered.get(&change.key).is_some_and(has);
        let is_current = change.after.as_ref().is_some_and(|after| after.meta.creation_time == claim.1);
        if is_made && is_current {
            self.claims.entry(place.clone()).or_default().insert(claim);
        } else if let Some(claims) = self.claims.get_mut(place) {
            claims.remove(&claim);
            if claims.is_empty() {
                self.claims.remove(place);
            }
        }
    }

    /// What the generators make of a destination.
    pub(super) fn of(&self, destination: &Key) -> &[Rendered] {
        self.rendered.get(destination).map_or(&[], |rendered| rendered)
    }

    /// Whether a destination gets the hostname that the generator of this rank made for it.
    pub(super) fn wins(&self, destination: &Key, rank: usize, hostname: &str) -> bool {
        let claims = self.claims.get(&(destination.kind, hostname.to_owned()));
        claims.and_then(OrdSet::get_min).is_some_and(|(first, _, key)| *first == rank && key == destination)
    }
}

/// The hostnames that were made for a destination, each with its claim.
fn claims(destination: &Resource, rendered: &[Rendered]) -> Vec<(String, Claim)> {
    let made = rendered.iter().filter_map(|(rank, made)| Some((*rank, made.as_ref().ok()?.clone())));
    made.map(|(rank, hostname)| (hostname, (rank, destination.meta.creation_time, destination.key.clone()))).collect()
}
