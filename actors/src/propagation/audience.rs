//! The connected proxies of one mesh, and what each has been told and has answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use model::Key;
use store::Revision;
use xds::{PolicyFault, Touched};

use super::recent::{Recent, Seen, Step};
use super::{Asked, PendingProxy, Propagation, RefusedResource, RejectingProxy};

/// One connected proxy.
#[derive(Debug)]
pub(crate) struct Member<T> {
    /// Which of its streams it is.
    pub(crate) stream: u64,
    /// Where it is told of changes.
    pub(crate) offers: T,
    /// All up to this revision is part of its first configuration.
    joined: Revision,
    joined_at: Instant,
    /// The view of its first configuration: what came after it changed nothing in the mesh.
    first_view: Revision,
    /// The newest view that it was told of.
    told: Revision,
    /// When it was told of the first view that it has not answered.
    behind_since: Instant,
    answered: Option<Revision>,
    refusals: Arc<[RefusedResource]>,
    faults: Arc<[PolicyFault]>,
}

/// How a proxy stands to a revision that concerns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Pending { since: Instant },
    Acked,
    Refused,
}

impl<T> Member<T> {
    /// What could not be applied to it.
    pub(crate) fn faults(&self) -> &Arc<[PolicyFault]> {
        &self.faults
    }

    /// The newest revision of which it answered everything; `None` before its first configuration.
    pub(crate) fn answered(&self) -> Option<Revision> {
        self.answered
    }

    /// What it refused.
    pub(crate) fn refusals(&self) -> &Arc<[RefusedResource]> {
        &self.refusals
    }

    /// Whether it has not answered all that it was told.
    fn is_behind(&self) -> bool {
        self.answered.is_none_or(|answered| answered < self.told)
    }

    fn refused(&self, asked: Asked) -> impl Iterator<Item = &RefusedResource> {
        self.refusals.iter().filter(move |refusal| match asked {
            Asked::One(revision) => refusal.rejection.covers(revision.0),
            Asked::Upto(_) => true,
        })
    }
}

/// What is new to a mesh: the next view.
#[derive(Clone, Debug)]
pub(crate) struct News {
    /// The revision up to which everything was read anew, when it was.
    pub(crate) anew: Option<Revision>,
    /// Each revision that was folded, in order.
    pub(crate) steps: Vec<Step>,
    /// Whom something touches that is no revision, like another address of a host name.
    pub(crate) beside: Touched,
    /// The revision of the view.
    pub(crate) revision: Revision,
}

impl News {
    /// A view of a revision, without anything new.
    pub(crate) fn of(revision: Revision) -> Self {
        Self { anew: None, steps: Vec::new(), beside: Touched::None, revision }
    }

    /// Whom it can concern.
    pub(crate) fn touched(&self) -> Touched {
        if self.anew.is_some() {
            return Touched::All;
        }
        self.steps.iter().fold(self.beside.clone(), |all, step| all.or(step.touched.clone()))
    }
}

/// The connected proxies of one mesh, by name.
#[derive(Debug)]
pub(crate) struct Audience<T> {
    members: BTreeMap<Arc<str>, Member<T>>,
    recent: Recent,
    /// The revision of the newest view.
    published: Revision,
    folded: Revision,
}

impl<T> Default for Audience<T> {
    fn default() -> Self {
        let members = BTreeMap::new();
        Self { members, recent: Recent::default(), published: Revision(0), folded: Revision(0) }
    }
}

impl<T> Audience<T> {
    /// Adds a proxy that has nothing yet; `false` when it is there already.
    pub(crate) fn join(&mut self, name: Arc<str>, stream: u64, offers: T, now: Instant) -> bool {
        if self.members.contains_key(&name) {
            return false;
        }
        let member = Member {
            stream,
            offers,
            joined: self.folded,
            joined_at: now,
            first_view: self.published,
            told: self.published,
            behind_since: now,
            answered: None,
            refusals: Arc::new([]),
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

    /// There is a new view: `tell` is called for each proxy, and whether the view touches it. Returns
    /// how many it touches.
    pub(crate) fn publish(&mut self, news: &News, now: Instant, mut tell: impl FnMut(&T, bool)) -> usize {
        let touched = news.touched();
        if let Some(revision) = news.anew {
            self.recent.restart(revision);
        }
        news.steps.iter().for_each(|step| self.recent.push(step.clone(), now));
        self.published = self.published.max(news.revision);
        self.pass(news.revision);
        let mut count = 0;
        for (name, member) in &mut self.members {
            let is_touched = touched.contains(name);
            if is_touched {
                if !member.is_behind() {
                    member.behind_since = now;
                }
                member.told = news.revision;
                count += 1;
            }
            tell(&member.offers, is_touched);
        }
        count
    }

    /// The mesh has seen `revision`, which changes nothing in it.
    pub(crate) fn pass(&mut self, revision: Revision) {
        self.folded = self.folded.max(revision);
    }

    /// What the proxy answered so far, and what it refuses now.
    pub(crate) fn answered(
        &mut self,
        name: &str,
        stream: u64,
        revision: Option<Revision>,
        refusals: Option<Arc<[RefusedResource]>>,
    ) {
        let Some(member) = self.members.get_mut(name).filter(|member| member.stream == stream) else { return };
        if let Some(refusals) = refusals {
            member.refusals = refusals;
        }
        member.answered = member.answered.max(revision);
    }

    /// What could not be applied to the proxy.
    pub(crate) fn faults(&mut self, name: &str, stream: u64, faults: &[PolicyFault]) {
        let member = self.members.get_mut(name).filter(|member| member.stream == stream);
        if let Some(member) = member.filter(|member| *member.faults != *faults) {
            member.faults = faults.into();
        }
    }

    /// What was changed by the revisions that concern the proxy and that `covers` lets through; `None`
    /// when that is not known of all of them.
    pub(crate) fn changed(&self, name: &str, covers: impl Fn(u64) -> bool) -> Option<Vec<Key>> {
        let member = self.members.get(name)?;
        // Whatever was before it joined came with its first configuration.
        if member.joined.0 > 0 && covers(member.joined.0) {
            return None;
        }
        self.recent.changed(name, covers).map(|keys| keys.into_iter().collect())
    }

    /// What this mesh knows, added to `total`.
    pub(crate) fn propagation(&self, mesh: &Arc<str>, asked: Asked, now: Instant, total: &mut Propagation) {
        total.folded &= self.folded >= asked.revision();
        for (name, member, standing) in self.standings(asked, |_| true) {
            let (mesh, name) = (Arc::clone(mesh), Arc::clone(name));
            total.concerned += 1;
            match standing {
                Standing::Acked => total.acked += 1,
                Standing::Pending { since } => {
                    total.pending.push(PendingProxy { mesh, name, age: now.saturating_duration_since(since) });
                }
                Standing::Refused => {
                    let refusals = member.refused(asked).cloned().collect();
                    total.rejected.push(RejectingProxy { mesh, name, refusals });
                }
            }
        }
    }

    /// Whether nobody is pending, or somebody refused: there is nothing to wait for.
    pub(crate) fn is_settled(&self, asked: Asked) -> bool {
        let mut all = self.standings(asked, |_| true);
        let mut refusing = self.standings(asked, |member| !member.refusals.is_empty());
        self.folded >= asked.revision()
            && (refusing.any(|(_, _, standing)| standing == Standing::Refused)
                || !all.any(|(_, _, standing)| matches!(standing, Standing::Pending { .. })))
    }

    /// How those proxies that `of` lets through stand to what is asked, as far as it concerns them. Where
    /// it is forgotten whom a revision touched, it counts as if everybody connected afterwards.
    fn standings(
        &self,
        asked: Asked,
        of: impl Fn(&Member<T>) -> bool,
    ) -> impl Iterator<Item = (&Arc<str>, &Member<T>, Standing)> {
        let seen = self.recent.seen(asked.revision());
        self.members.iter().filter(move |(_, member)| of(member)).filter_map(move |(name, member)| {
            let standing = match asked {
                Asked::Upto(_) if member.is_behind() => Standing::Pending { since: member.behind_since },
                Asked::Upto(_) => Standing::Acked,
                Asked::One(revision) => {
                    let since = match seen {
                        _ if revision <= member.joined => member.joined_at,
                        Seen::Touched(touched, at) if touched.contains(name) => at,
                        Seen::Touched(..) | Seen::Nobody => return None,
                        Seen::Forgotten => member.behind_since,
                    };
                    let view = if revision <= member.joined { member.first_view } else { member.told };
                    let has_it = member.answered.is_some_and(|answered| answered >= revision.min(view));
                    if has_it { Standing::Acked } else { Standing::Pending { since } }
                }
            };
            let is_refused = member.refused(asked).next().is_some();
            Some((name, member, if is_refused { Standing::Refused } else { standing }))
        })
    }
}
