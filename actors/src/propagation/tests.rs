//! Single cases; `model` meets them in any order.

mod model;

use std::time::Instant;

use ::model::Key;
use xds::Touched;
use xds::session::{Rejection, Span};

use super::*;

fn step(revision: u64, touched: Touched) -> Step {
    let changed = Key::new(::model::registry::MESH_TIMEOUT, "m", &revision.to_string());
    Step { revision: Revision(revision), touched, changed: [changed].into() }
}

fn some(names: &[&str]) -> Touched {
    match names {
        [] => Touched::None,
        names => Touched::Some(names.iter().map(|name| (*name).into()).collect()),
    }
}

fn news(steps: Vec<Step>) -> News {
    let revision = steps.last().map_or(Revision(0), |step| step.revision);
    News { steps, ..News::of(revision) }
}

/// Proxies that run all up to revision 1.
fn audience(names: &[&str]) -> Audience<()> {
    let mut audience = Audience::default();
    let anew = News { anew: Some(Revision(1)), ..News::of(Revision(1)) };
    audience.publish(&anew, Instant::now(), |(), _| {});
    for name in names {
        assert!(audience.join((*name).into(), 1, (), Instant::now()));
        audience.answered(name, 1, Some(Revision(1)), None);
    }
    audience
}

fn touch(audience: &mut Audience<()>, revision: u64, names: &[&str]) {
    audience.publish(&news(vec![step(revision, some(names))]), Instant::now(), |(), _| {});
}

fn refusal(name: &str, spans: &[(u64, u64)]) -> RefusedResource {
    let spans = spans.iter().map(|(after, upto)| Span { after: *after, upto: *upto }).collect();
    let (ty, version) = (xds::ResourceType::Cluster, xds::ContentHash(1));
    let rejection = Rejection { ty, name: name.into(), version, message: "no".into(), spans };
    RefusedResource { rejection, causes: Arc::default() }
}

fn ask(audience: &Audience<()>, asked: Asked) -> Propagation {
    let mut total = Propagation { folded: true, ..Propagation::default() };
    audience.propagation(&"m".into(), asked, Instant::now(), &mut total);
    assert_eq!(total.concerned, total.acked + total.pending.len() + total.rejected.len(), "{total:?}");
    let is_settled = total.folded && (total.pending.is_empty() || !total.rejected.is_empty());
    assert_eq!(audience.is_settled(asked), is_settled);
    total
}

/// `acked`, pending names, refusing names of a revision.
fn counts(audience: &Audience<()>, revision: u64) -> (usize, String, String) {
    let total = ask(audience, Asked::One(Revision(revision)));
    assert!(total.folded);
    let pending: Vec<_> = total.pending.iter().map(|p| p.name.to_string()).collect();
    let rejected: Vec<_> = total.rejected.iter().map(|p| p.name.to_string()).collect();
    (total.acked, pending.join(","), rejected.join(","))
}

fn is(acked: usize, pending: &str, refused: &str) -> (usize, String, String) {
    (acked, pending.to_owned(), refused.to_owned())
}

#[test]
fn revision_that_touches_nobody_is_everywhere_at_once() {
    let mut audience = audience(&["a", "b"]);
    touch(&mut audience, 5, &[]);
    assert_eq!(counts(&audience, 5), is(0, "", ""));
}

#[test]
fn revision_is_there_once_each_touched_proxy_answered() {
    let mut audience = audience(&["a", "b", "c"]);
    touch(&mut audience, 5, &["a", "b"]);
    assert_eq!(counts(&audience, 5), is(0, "a,b", ""));
    audience.answered("a", 1, Some(Revision(5)), None);
    assert_eq!(counts(&audience, 5), is(1, "b", ""));
    audience.answered("b", 1, Some(Revision(6)), None);
    assert_eq!(counts(&audience, 5), is(2, "", ""));
}

#[test]
fn revision_that_is_not_taken_in_is_not_everywhere() {
    let audience = audience(&["a"]);
    assert!(!ask(&audience, Asked::One(Revision(2))).folded);
}

#[test]
fn revisions_of_one_burst_concern_those_that_each_touches() {
    let mut audience = audience(&["a", "b"]);
    let burst = news(vec![step(5, some(&["a"])), step(7, some(&["b"]))]);
    audience.publish(&burst, Instant::now(), |(), _| {});
    assert_eq!(counts(&audience, 5), is(0, "a", ""));
    assert_eq!(counts(&audience, 6), is(0, "", ""));
    assert_eq!(counts(&audience, 7), is(0, "b", ""));
    audience.answered("a", 1, Some(Revision(7)), None);
    assert_eq!(counts(&audience, 5), is(1, "", ""));
}

#[test]
fn answer_to_an_older_revision_leaves_the_newer_one_pending() {
    let mut audience = audience(&["a"]);
    touch(&mut audience, 5, &["a"]);
    touch(&mut audience, 9, &["a"]);
    audience.answered("a", 1, Some(Revision(5)), None);
    assert_eq!(counts(&audience, 5), is(1, "", ""));
    assert_eq!(counts(&audience, 7), is(0, "", ""));
    assert_eq!(counts(&audience, 9), is(0, "a", ""));
}

#[test]
fn refusal_of_one_revision_takes_nothing_from_the_others() {
    let mut audience = audience(&["a", "b"]);
    for revision in [5, 6, 7] {
        touch(&mut audience, revision, &["a", "b"]);
    }
    audience.answered("b", 1, Some(Revision(7)), None);
    audience.answered("a", 1, Some(Revision(7)), Some([refusal("c", &[(4, 5), (6, 7)])].into()));
    assert_eq!(counts(&audience, 5), is(1, "", "a"));
    assert_eq!(counts(&audience, 6), is(2, "", ""));
    assert_eq!(counts(&audience, 7), is(1, "", "a"));
    let all = ask(&audience, Asked::Upto(Revision(7)));
    assert_eq!((all.concerned, all.acked, all.rejected.len()), (2, 1, 1));
    audience.answered("a", 1, Some(Revision(8)), Some([].into()));
    assert_eq!(counts(&audience, 5), is(2, "", ""));
}

#[test]
fn refusal_that_is_known_before_the_rest_is_answered_counts_at_once() {
    let mut audience = audience(&["a", "b"]);
    touch(&mut audience, 5, &["a", "b"]);
    audience.answered("a", 1, Some(Revision(1)), Some([refusal("c", &[(1, 5)])].into()));
    assert_eq!(counts(&audience, 5), is(0, "b", "a"));
}

#[test]
fn proxy_that_joins_later_is_concerned_by_what_was_before() {
    let mut audience = audience(&[]);
    touch(&mut audience, 5, &[]);
    audience.pass(Revision(6));
    audience.join("new".into(), 2, (), Instant::now());
    assert_eq!(counts(&audience, 3), is(0, "new", ""));
    audience.answered("new", 2, Some(Revision(5)), None);
    assert_eq!(counts(&audience, 3), is(1, "", ""));
    assert_eq!(counts(&audience, 6), is(1, "", ""), "there is no newer view than that of 5");
    touch(&mut audience, 7, &["new"]);
    assert_eq!(counts(&audience, 6), is(1, "", ""), "a later change does not make it pending again");
    assert_eq!(counts(&audience, 7), is(0, "new", ""));
}

#[test]
fn proxy_that_left_counts_no_more_and_starts_anew_when_it_is_back() {
    let mut audience = audience(&["a", "b"]);
    touch(&mut audience, 5, &["a", "b"]);
    audience.answered("a", 1, Some(Revision(5)), None);
    audience.leave("a", 1);
    audience.leave("b", 1);
    assert_eq!(counts(&audience, 5), is(0, "", ""));
    audience.join("a".into(), 2, (), Instant::now());
    assert_eq!(counts(&audience, 5), is(0, "a", ""));
    audience.answered("a", 1, Some(Revision(9)), None);
    assert_eq!(counts(&audience, 5), is(0, "a", ""), "that was its former stream");
}

#[test]
fn silent_proxy_costs_bounded_memory_and_is_never_taken_for_done() {
    let mut audience = audience(&["a"]);
    for revision in 2..5000 {
        touch(&mut audience, revision, &["a"]);
    }
    audience.answered("a", 1, Some(Revision(300)), None);
    assert_eq!(counts(&audience, 301), is(0, "a", ""), "though it is forgotten whom 301 touched");
    assert_eq!(counts(&audience, 4999), is(0, "a", ""));
    audience.answered("a", 1, Some(Revision(4999)), None);
    assert_eq!(counts(&audience, 301), is(1, "", ""));
}

#[test]
fn what_is_no_revision_is_told_and_makes_nothing_pending() {
    let mut audience = audience(&["a", "b"]);
    touch(&mut audience, 5, &["a"]);
    audience.answered("a", 1, Some(Revision(5)), None);
    let moved = News { beside: some(&["a"]), ..News::of(Revision(5)) };
    assert_eq!(audience.publish(&moved, Instant::now(), |(), _| {}), 1);
    assert_eq!(counts(&audience, 5), is(1, "", ""));
}

#[test]
fn mesh_that_is_read_anew_concerns_everybody() {
    let mut audience = audience(&["a"]);
    let anew = News { anew: Some(Revision(9)), ..News::of(Revision(9)) };
    assert_eq!(audience.publish(&anew, Instant::now(), |(), is_touched| assert!(is_touched)), 1);
    assert_eq!(counts(&audience, 9), is(0, "a", ""));
    audience.answered("a", 1, Some(Revision(9)), None);
    assert_eq!(counts(&audience, 4), is(1, "", ""));
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
fn what_may_be_to_blame_is_what_changed_since_the_proxy_joined() {
    let mut audience = audience(&[]);
    touch(&mut audience, 5, &["a", "b"]);
    audience.join("a".into(), 1, (), Instant::now());
    touch(&mut audience, 6, &["b"]);
    touch(&mut audience, 7, &["a"]);
    let names = |from: u64, upto: u64| {
        let changed = audience.changed("a", |revision| from < revision && revision <= upto)?;
        Some(changed.iter().map(|key| key.name.to_string()).collect::<Vec<_>>().join(","))
    };
    assert_eq!(names(5, 7).as_deref(), Some("7"));
    assert_eq!(names(0, 7), None, "its first configuration may be to blame");
}
