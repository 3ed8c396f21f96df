//! Who has what: which proxies a revision concerns and which of them hold it.
//!
//! [`Audience`] is the plain state behind it, of one mesh. A revision that does not touch a proxy
//! counts as held by it at once, because its configuration is the same with and without it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::Revision;
use xds::PolicyFault;
use xds::session::Rejection;

/// How many revisions are kept apart for a proxy that does not answer; more are merged.
const SPANS_LEN_MAX: usize = 64;

/// Whether a revision is everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// Whether every mesh has taken the revision in. Before that the rest is not final.
    pub folded: bool,
    /// Connected proxies whose configuration it changes.
    pub concerned: usize,
    /// Those of them that run it.
    pub acked: usize,
    /// Those that have not answered yet.
    pub pending: Vec<PendingProxy>,
    /// Those that refused some of their configuration.
    pub rejected: Vec<RejectingProxy>,
}

/// A proxy that has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingProxy {
    /// Its mesh.
    pub mesh: Arc<str>,
    /// Name of its Dataplane.
    pub name: Arc<str>,
    /// For how long.
    pub age: Duration,
}

/// A proxy that refused some of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectingProxy {
    /// Its mesh.
    pub mesh: Arc<str>,
    /// Name of its Dataplane.
    pub name: Arc<str>,
    /// What it refused, and in which words.
    pub rejections: Arc<[Rejection]>,
}

/// Revisions `first..=last` that touch a proxy and that it has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: Revision,
    last: Revision,
    since: Instant,
}

/// One connected proxy.
#[derive(Debug)]
pub(crate) struct Member<T> {
    /// Which of its streams it is.
    pub(crate) stream: u64,
    /// Where it is told of changes.
    pub(crate) offers: T,
    unanswered: VecDeque<Span>,
    answered: Option<Revision>,
    rejections: Arc<[Rejection]>,
    faults: Arc<[PolicyFault]>,
}

impl<T> Member<T> {
    /// What could not be applied to it.
    pub(crate) fn faults(&self) -> &Arc<[PolicyFault]> {
        &self.faults
    }

    /// The newest revision that touched the proxy and that it answered.
    pub(crate) fn answered(&self) -> Option<Revision> {
        self.answered
    }

    /// What it refused.
    pub(crate) fn rejections(&self) -> &Arc<[Rejection]> {
        &self.rejections
    }

    fn touch(&mut self, first: Revision, last: Revision, now: Instant) {
        if self.unanswered.len() < SPANS_LEN_MAX {
            self.unanswered.push_back(Span { first, last, since: now });
        } else if let Some(newest) = self.unanswered.back_mut() {
            newest.last = last;
        }
    }

    fn pending(&self, revision: Revision) -> Option<&Span> {
        self.unanswered.iter().find(|span| span.first <= revision && revision <= span.last)
    }
}

/// The connected proxies of one mesh, by name.
#[derive(Debug)]
pub(crate) struct Audience<T> {
    members: BTreeMap<Arc<str>, Member<T>>,
    /// The latest views that touched anybody.
    answers: VecDeque<Answers>,
    folded: Revision,
}

/// How many proxies answered a view, of those that it touched.
#[derive(Clone, Copy, Debug)]
struct Answers {
    first: Revision,
    last: Revision,
    count: usize,
}

/// For how many views the answers are counted.
const ANSWERS_LEN_MAX: usize = 1024;

impl<T> Default for Audience<T> {
    fn default() -> Self {
        Self { members: BTreeMap::new(), answers: VecDeque::new(), folded: Revision(0) }
    }
}

impl<T> Audience<T> {
    /// Adds a proxy that has nothing yet; `false` when it is there already.
    pub(crate) fn join(&mut self, name: Arc<str>, stream: u64, offers: T, now: Instant) -> bool {
        if self.members.contains_key(&name) {
            return false;
        }
        let first_configuration = Span { first: Revision(0), last: self.folded, since: now };
        let member = Member {
            stream,
            offers,
            unanswered: VecDeque::from([first_configuration]),
            answered: None,
            rejections: Arc::new([]),
            faults: Arc::new([]),
        };
        self.members.insert(name, member);
        true
    }

    /// Removes the proxy if this is its stream.
    pub(crate) fn leave(&mut self, name: &str, stream: u64) {
        if self.members.get(name).is_some_and(|member| member.stream == stream) {
            self.members.remove(name);
        }
    }

    /// The connected proxies, by name.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Arc<str>, &Member<T>)> {
        self.members.iter()
    }

    /// Whether the proxy is connected.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The mesh took in the revisions `first..=last`, which touch the proxies that `touches` lets
    /// through: `tell` is called for each. Returns how many.
    pub(crate) fn publish(
        &mut self,
        (first, last): (Revision, Revision),
        now: Instant,
        touches: impl Fn(&str) -> bool,
        mut tell: impl FnMut(&T),
    ) -> usize {
        self.folded = self.folded.max(last);
        let mut touched = 0;
        for (name, member) in &mut self.members {
            if touches(name) {
                member.touch(first, last, now);
                tell(&member.offers);
                touched += 1;
            }
        }
        if touched > 0 {
            self.answers.push_back(Answers { first, last, count: 0 });
            if self.answers.len() > ANSWERS_LEN_MAX {
                self.answers.pop_front();
            }
        }
        touched
    }

    /// The proxy answered everything up to `revision`; what it refused of it stands in `rejections`.
    pub(crate) fn answered(
        &mut self,
        name: &str,
        stream: u64,
        revision: Revision,
        rejections: Option<Arc<[Rejection]>>,
    ) {
        let Some(member) = self.members.get_mut(name).filter(|member| member.stream == stream) else { return };
        if let Some(rejections) = rejections {
            member.rejections = rejections;
        }
        member.answered = member.answered.max(Some(revision));
        while let Some(span) = member.unanswered.pop_front_if(|span| span.last <= revision) {
            for answers in self.answers.iter_mut().rev().take_while(|answers| answers.last >= span.first) {
                if answers.first <= span.last {
                    answers.count += 1;
                }
            }
        }
    }

    /// What could not be applied to the proxy.
    pub(crate) fn faults(&mut self, name: &str, stream: u64, faults: &[PolicyFault]) {
        let member = self.members.get_mut(name).filter(|member| member.stream == stream);
        if let Some(member) = member.filter(|member| *member.faults != *faults) {
            member.faults = faults.into();
        }
    }

    /// What this mesh knows of `revision`, added to `total`.
    pub(crate) fn propagation(&self, mesh: &Arc<str>, revision: Revision, now: Instant, total: &mut Propagation) {
        total.folded &= self.folded >= revision;
        let covers = |answers: &&Answers| answers.first <= revision && revision <= answers.last;
        let answers = self.answers.iter().find(covers).map_or(0, |answers| answers.count);
        let mut refusing = 0;
        for (name, member) in &self.members {
            if let Some(span) = member.pending(revision) {
                let age = now.saturating_duration_since(span.since);
                total.pending.push(PendingProxy { mesh: Arc::clone(mesh), name: Arc::clone(name), age });
                total.concerned += 1;
            }
            if !member.rejections.is_empty() {
                refusing += usize::from(member.pending(revision).is_none());
                total.rejected.push(RejectingProxy {
                    mesh: Arc::clone(mesh),
                    name: Arc::clone(name),
                    rejections: Arc::clone(&member.rejections),
                });
            }
        }
        total.concerned += answers;
        total.acked += answers.saturating_sub(refusing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(names: &[&str]) -> Audience<()> {
        let mut audience = Audience::default();
        for name in names {
            assert!(audience.join((*name).into(), 1, (), Instant::now()));
            audience.answered(name, 1, Revision(0), None);
        }
        audience
    }

    fn touch(audience: &mut Audience<()>, revision: u64, names: &[&str]) {
        audience.publish(
            (Revision(revision), Revision(revision)),
            Instant::now(),
            |name| names.contains(&name),
            |()| {},
        );
    }

    /// `(concerned, acked, pending)` of a revision.
    fn counts(audience: &Audience<()>, revision: u64) -> (usize, usize, Vec<String>) {
        let mut total = Propagation { folded: true, ..Propagation::default() };
        audience.propagation(&"m".into(), Revision(revision), Instant::now(), &mut total);
        assert!(total.folded);
        (total.concerned, total.acked, total.pending.iter().map(|p| p.name.to_string()).collect())
    }

    #[test]
    fn revision_that_touches_nobody_is_everywhere_at_once() {
        let mut audience = audience(&["a", "b"]);
        touch(&mut audience, 5, &[]);
        assert_eq!(counts(&audience, 5), (0, 0, vec![]));
    }

    #[test]
    fn revision_is_held_once_each_touched_proxy_answered() {
        let mut audience = audience(&["a", "b", "c"]);
        touch(&mut audience, 5, &["a", "b"]);
        assert_eq!(counts(&audience, 5), (2, 0, vec!["a".to_owned(), "b".to_owned()]));
        audience.answered("a", 1, Revision(5), None);
        assert_eq!(counts(&audience, 5), (2, 1, vec!["b".to_owned()]));
        audience.answered("b", 1, Revision(6), None);
        assert_eq!(counts(&audience, 5), (2, 2, vec![]));
    }

    #[test]
    fn revisions_that_were_taken_in_together_are_answered_together() {
        let mut audience = audience(&["a"]);
        audience.publish((Revision(5), Revision(8)), Instant::now(), |_| true, |()| {});
        assert_eq!(counts(&audience, 6).2, ["a"]);
        audience.answered("a", 1, Revision(8), None);
        assert_eq!(counts(&audience, 6), (1, 1, vec![]));
    }

    #[test]
    fn answer_to_an_older_revision_leaves_the_newer_one_pending() {
        let mut audience = audience(&["a"]);
        touch(&mut audience, 5, &["a"]);
        touch(&mut audience, 9, &["a"]);
        audience.answered("a", 1, Revision(5), None);
        assert_eq!(counts(&audience, 5), (1, 1, vec![]));
        assert_eq!(counts(&audience, 7), (0, 0, vec![]));
        assert_eq!(counts(&audience, 9), (1, 0, vec!["a".to_owned()]));
    }

    #[test]
    fn new_proxy_is_pending_until_its_first_configuration() {
        let mut audience = audience(&[]);
        touch(&mut audience, 5, &[]);
        audience.join("new".into(), 2, (), Instant::now());
        assert_eq!(counts(&audience, 3).2, ["new"]);
        audience.answered("new", 2, Revision(5), None);
        assert_eq!(counts(&audience, 3).2, Vec::<String>::new());
    }

    #[test]
    fn silent_proxy_costs_bounded_memory_and_is_never_taken_for_done() {
        let mut audience = audience(&["a"]);
        for revision in 1..500 {
            touch(&mut audience, revision, &["a"]);
        }
        assert!(audience.members["a"].unanswered.len() <= SPANS_LEN_MAX);
        audience.answered("a", 1, Revision(300), None);
        assert_eq!(counts(&audience, 499).2, ["a"]);
        audience.answered("a", 1, Revision(499), None);
        assert_eq!(counts(&audience, 499).2, Vec::<String>::new());
    }

    #[test]
    fn only_the_stream_that_holds_the_seat_gives_it_up() {
        let mut audience = audience(&["a"]);
        assert!(!audience.join("a".into(), 2, (), Instant::now()));
        audience.leave("a", 2);
        assert!(audience.has("a"));
        audience.leave("a", 1);
        assert!(!audience.has("a"));
    }

    #[test]
    fn refusal_is_an_answer_but_no_acknowledgement() {
        let mut audience = audience(&["a"]);
        touch(&mut audience, 5, &["a"]);
        let rejection = Rejection {
            ty: xds::ResourceType::Cluster,
            name: "c".into(),
            version: xds::ContentHash(1),
            message: "no".into(),
        };
        audience.answered("a", 1, Revision(5), Some(Arc::new([rejection])));
        let mut total = Propagation::default();
        audience.propagation(&"m".into(), Revision(5), Instant::now(), &mut total);
        assert_eq!((total.concerned, total.acked, total.rejected.len()), (1, 0, 1));
    }
}
