//! The conversation about one type: what is wanted, what the proxy has, what is on its way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::held::{Held, Version};
use super::message::{DeltaRequest, Heard, Nonce, Rejection, Span, and_then, shorten};
use super::subscription::Subscription;
use crate::proxy_config::{ContentHash, Entry, ResourceType, TypeConfig};

/// A response that was not answered yet.
#[derive(Clone, Debug)]
struct InFlight {
    nonce: Nonce,
    /// The revision that the proxy has of this type once it accepts.
    covers: u64,
    /// The revisions of which something may be in it.
    span: Span,
    /// What is in it, was not wanted for a while, and is wanted again by later revisions.
    again: Vec<(Arc<str>, Span)>,
    /// The new versions, and what the proxy had before (outer `None`: nothing).
    upserts: Vec<(Arc<str>, ContentHash, Option<Version>)>,
}

/// What the proxy should be told next.
#[derive(Clone, Debug, Default)]
pub(super) struct Difference {
    /// New and changed resources.
    pub(super) upserts: Vec<Entry>,
    /// Resources that are gone.
    pub(super) removals: Vec<Arc<str>>,
}

/// One type's half of a session.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    ty: ResourceType,
    subscription: Subscription,
    /// Whether the proxy ever asked for this type.
    opened: bool,
    /// The first request for all resources is answered even when there are none.
    owes_answer: bool,
    /// What the proxy has once it accepts what is in flight.
    held: Held,
    in_flight: Option<InFlight>,
    rejected: BTreeMap<Arc<str>, Rejection>,
    /// How many resources go into the next response: bisects a refused response, so that one bad
    /// resource does not keep its neighbours away.
    limit: usize,
    /// The difference between configuration and proxy; `None` when it must be found anew.
    difference: Option<Difference>,
    /// All changes up to this revision were accepted or refused.
    answered: u64,
}

impl Exchange {
    pub(super) fn new(ty: ResourceType) -> Self {
        Self {
            ty,
            subscription: Subscription::default(),
            opened: false,
            owes_answer: false,
            held: Held::default(),
            in_flight: None,
            rejected: BTreeMap::new(),
            limit: usize::MAX,
            difference: None,
            answered: 0,
        }
    }

    pub(super) fn is_opened(&self) -> bool {
        self.opened
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether resources (not only removals) are on their way.
    pub(super) fn has_upserts_in_flight(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|sent| !sent.upserts.is_empty())
    }

    pub(super) fn rejections(&self) -> impl Iterator<Item = &Rejection> {
        self.rejected.values()
    }

    /// Whether the proxy runs an older version of a resource whose newer one it refused.
    pub(super) fn runs_last_good(&self, config: &TypeConfig) -> bool {
        let is_wanted = |name: &str, refused: ContentHash| config.get(name).is_some_and(|e| e.version == refused);
        self.rejected
            .iter()
            .any(|(name, rejection)| self.held.get(name).is_some() && is_wanted(name, rejection.version))
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    pub(super) fn names_len(&self) -> usize {
        self.subscription.names().len().max(self.held.differences().len())
    }

    /// The configuration of this type is another one since these revisions. They, too, are to blame for
    /// a refused version that they bring back.
    pub(super) fn config_changed(&mut self, former: &TypeConfig, config: &TypeConfig, span: Span) {
        self.difference = None;
        self.held.compare_with(config);
        let wants = |config: &TypeConfig, name: &str, version| config.get(name).is_some_and(|e| e.version == version);
        let is_back = |name: &str, version| wants(config, name, version) && !wants(former, name, version);
        for (name, rejection) in &mut self.rejected {
            if is_back(name, rejection.version) {
                rejection.spans = and_then(&rejection.spans, span);
            }
        }
        if let Some(sent) = &mut self.in_flight {
            let back = sent.upserts.iter().filter(|(name, version, _)| is_back(name, *version));
            sent.again.extend(back.map(|(name, ..)| (Arc::clone(name), span)));
        }
    }

    /// Takes in a request.
    pub(super) fn hear(&mut self, request: &DeltaRequest) -> Heard {
        let first = !self.opened;
        let wanted_all = self.subscription.is_wildcard();
        self.opened = true;
        let subscribe: Vec<_> = request.subscribe.iter().map(|name| self.held.shared_name(name)).collect();
        self.subscription.update(first, &subscribe, &request.unsubscribe);
        self.owes_answer = self.subscription.is_wildcard() && (self.owes_answer || !wanted_all);
        if first {
            self.held.replace(&request.initial_versions);
            self.difference = None;
        } else {
            self.resubscribe(&request.subscribe);
        }
        self.unsubscribe(&request.unsubscribe);
        self.take_answer(request)
    }

    /// Whoever asks for a name is told of it, even when we believe that it has the newest version:
    /// it may have forgotten it.
    fn resubscribe(&mut self, names: &[Arc<str>]) {
        for name in names {
            self.forget(name);
            self.rejected.remove(name);
            self.difference = None;
        }
    }

    /// Sends the resource again, should the proxy have it.
    pub(super) fn forget(&mut self, name: &Arc<str>) {
        if self.held.get(name).is_some() {
            self.held.set(name, Some(None));
            self.difference = None;
        }
    }

    fn unsubscribe(&mut self, names: &[Arc<str>]) {
        if names.is_empty() {
            return;
        }
        self.difference = None;
        let subscription = &self.subscription;
        if subscription.is_wildcard() {
            // The proxy cannot know whether a name that it dropped is still among all: tell it.
            for name in names.iter().filter(|name| !subscription.names().contains(*name)) {
                self.held.set(name, Some(None));
            }
        } else {
            self.held.retain(|name| subscription.wants(name));
            self.rejected.retain(|name, _| subscription.wants(name));
        }
    }

    fn take_answer(&mut self, request: &DeltaRequest) -> Heard {
        let Some(nonce) = request.nonce else { return Heard::Subscription };
        let Some(sent) = self.in_flight.take_if(|sent| sent.nonce == nonce) else { return Heard::Stale };
        match &request.error {
            None => {
                // A refusal of another version stands as long as that is wanted.
                for (name, version, _) in &sent.upserts {
                    if self.rejected.get(name).is_some_and(|rejection| rejection.version == *version) {
                        self.rejected.remove(name);
                    }
                }
                self.limit = self.limit.saturating_mul(2);
                self.answered = self.answered.max(sent.covers);
                Heard::Ack
            }
            Some(message) => {
                self.refuse(sent, message);
                Heard::Nack
            }
        }
    }

    /// The proxy refused a response. It keeps what it had; what is to blame is held back.
    fn refuse(&mut self, sent: InFlight, message: &str) {
        self.difference = None;
        if sent.upserts.is_empty() {
            self.answered = self.answered.max(sent.covers);
            return;
        }
        let names = sent.upserts.iter().map(|(name, ..)| &**name);
        let named: Vec<&str> = names.filter(|name| mentions(message, name)).collect();
        let message = shorten(message);
        let alone = sent.upserts.len() == 1;
        for (name, version, before) in &sent.upserts {
            self.restore(name, *version, *before);
            if (alone || named.contains(&&**name)) && self.subscription.wants(name) {
                let former = self.rejected.get(name).map_or(&[][..], |former| &former.spans);
                let again = sent.again.iter().filter(|(back, _)| back == name).map(|(_, span)| *span);
                let spans = again.fold(and_then(former, sent.span), |spans, span| and_then(&spans, span));
                let (version, message) = (*version, Arc::clone(&message));
                let rejection = Rejection { ty: self.ty, name: Arc::clone(name), version, message, spans };
                self.rejected.insert(Arc::clone(name), rejection);
            }
        }
        self.limit = if alone {
            self.limit
        } else if named.is_empty() {
            (sent.upserts.len() / 2).max(1)
        } else {
            usize::MAX
        };
        if alone || named.len() == sent.upserts.len() {
            self.answered = self.answered.max(sent.covers);
        }
    }

    /// Takes back the belief that the proxy has `version`.
    fn restore(&mut self, name: &Arc<str>, version: ContentHash, before: Option<Version>) {
        if self.held.get(name) == Some(Some(version)) {
            self.held.set(name, before);
        }
    }

    /// The difference between `config` and what the proxy has or will have.
    pub(super) fn difference(&mut self, config: &TypeConfig) -> &Difference {
        if self.difference.is_none() {
            self.difference = Some(self.compare(config));
        }
        self.difference.get_or_insert_default()
    }

    fn compare(&self, config: &TypeConfig) -> Difference {
        if !self.opened {
            return Difference::default();
        }
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        for (name, has) in self.held.differences() {
            let refused = self.rejected.get(name).map(|rejection| rejection.version);
            match config.get(name) {
                Some(entry) if self.subscription.wants(name) && refused != Some(entry.version) => {
                    upserts.push(entry.clone());
                }
                None if has.is_some() => removals.push(Arc::clone(name)),
                Some(_) | None => {}
            }
        }
        Difference { upserts, removals }
    }

    /// Whether there is something to add or to answer.
    pub(super) fn has_additions(&mut self, config: &TypeConfig) -> bool {
        self.owes_answer || !self.difference(config).upserts.is_empty()
    }

    /// Marks all up to `revision` as answered when nothing is due and nothing on its way; when
    /// only the answer to what was sent is missing, that answer will cover `revision`. Removals that
    /// are withheld because of a refusal are not waited for.
    pub(super) fn settle(&mut self, config: &TypeConfig, revision: u64, withholds_removals: bool) {
        let every_proxy_asks = matches!(self.ty, ResourceType::Cluster | ResourceType::Listener);
        if !self.opened && every_proxy_asks {
            return;
        }
        self.heal(config, withholds_removals);
        let due = self.difference(config);
        let removes = !due.removals.is_empty() && !withholds_removals;
        if !due.upserts.is_empty() || removes || self.owes_answer {
            return;
        }
        match &mut self.in_flight {
            Some(sent) => sent.covers = sent.covers.max(revision),
            None => {
                self.answered = self.answered.max(revision);
                self.limit = usize::MAX;
            }
        }
    }

    /// Forgets refusals of what the proxy need not run any more, once it runs what it should.
    fn heal(&mut self, config: &TypeConfig, withholds_removals: bool) {
        let (held, is_quiet) = (&self.held, self.in_flight.is_none());
        self.rejected.retain(|name, rejection| match config.get(name) {
            Some(wanted) if wanted.version == rejection.version => true,
            Some(wanted) => !(is_quiet && held.get(name) == Some(Some(wanted.version))),
            None => !is_quiet || (held.get(name).is_some() && !withholds_removals),
        });
    }

    /// The revisions that the proxy did not answer yet, up to this one: none when it is told of
    /// something else, like a renewed certificate.
    fn unanswered(&self, upto: u64) -> Span {
        Span { after: self.answered, upto: upto.max(self.answered) }
    }

    /// Takes the additions that the next response carries.
    pub(super) fn send_additions(&mut self, config: &TypeConfig, nonce: Nonce, revision: u64) -> Vec<Entry> {
        self.owes_answer = false;
        self.difference(config);
        let due = self.difference.get_or_insert_default();
        let rest = due.upserts.split_off(due.upserts.len().min(self.limit));
        let upserts = std::mem::replace(&mut due.upserts, rest);
        let mut sent = Vec::with_capacity(upserts.len());
        for entry in &upserts {
            let name = Arc::clone(&entry.resource.name);
            let before = self.held.get(&name);
            self.held.set(&name, Some(Some(entry.version)));
            sent.push((name, entry.version, before));
        }
        let span = self.unanswered(revision);
        self.in_flight = Some(InFlight { nonce, covers: self.answered, span, again: Vec::new(), upserts: sent });
        upserts
    }

    /// Takes the removals that the next response carries.
    pub(super) fn send_removals(&mut self, config: &TypeConfig, nonce: Nonce, revision: u64) -> Vec<Arc<str>> {
        self.difference(config);
        let removals = std::mem::take(&mut self.difference.get_or_insert_default().removals);
        for name in &removals {
            self.held.set(name, None);
        }
        let span = self.unanswered(revision);
        self.in_flight = Some(InFlight { nonce, covers: self.answered, span, again: Vec::new(), upserts: Vec::new() });
        removals
    }
}

/// Whether a refusal speaks of this very name, and not of a longer one that contains it.
fn mentions(message: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    message.match_indices(name).any(|(at, _)| {
        let before = message[..at].chars().next_back();
        let mut after = message[at + name.len()..].chars();
        let (next, second) = (after.next(), after.next());
        let goes_on = next.is_some_and(is_part) || (next == Some('.') && second.is_some_and(is_part));
        !before.is_some_and(is_part) && !goes_on
    })
}
