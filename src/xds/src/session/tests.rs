//! The corners of the protocol, one by one; `simulation` meets them in any order.

mod corners;
mod simulation;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::proxy_config::{ContentHash, EncodedResource, Entry};
use ResourceType::{Cluster, Endpoint, Listener, Secret};

/// A resource whose bytes are this text.
fn entry(ty: ResourceType, name: &str, text: &str) -> Entry {
    let body = Bytes::copy_from_slice(text.as_bytes());
    let hash = ContentHash::of(&body);
    let resource = Arc::new(EncodedResource { ty, name: name.into(), hash, body });
    Entry { resource, version: hash }
}

fn config(entries: &[(ResourceType, &str, &str)]) -> Arc<ProxyConfig> {
    with_entries(entries.iter().map(|(ty, name, text)| entry(*ty, name, text)).collect())
}

fn with_entries(entries: Vec<Entry>) -> Arc<ProxyConfig> {
    let of = |ty| entries.iter().filter(|entry| entry.resource.ty == ty).cloned().collect();
    Arc::new(ProxyConfig::new(ResourceType::ALL.map(|ty| (ty, of(ty))), Vec::new()))
}

fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|n| Arc::from(*n)).collect()
}

fn ask(session: &mut Session, ty: ResourceType, subscribe: &[&str]) -> Heard {
    heard(session, DeltaRequest { subscribe: names(subscribe), ..DeltaRequest::of(ty) })
}

fn heard(session: &mut Session, request: DeltaRequest) -> Heard {
    session.request(&request).expect("within bounds")
}

fn ack(session: &mut Session, response: &DeltaResponse) -> Heard {
    heard(session, DeltaRequest { nonce: Some(response.nonce), ..DeltaRequest::of(response.ty) })
}

fn nack(session: &mut Session, response: &DeltaResponse, message: &str) -> Heard {
    let error = Some(message.to_owned());
    heard(session, DeltaRequest { nonce: Some(response.nonce), error, ..DeltaRequest::of(response.ty) })
}

/// Everything that can be sent now, as `+name=text` and `-name` a response.
fn said(session: &mut Session) -> Vec<(ResourceType, Vec<String>)> {
    responses(session).iter().map(|r| (r.ty, words(r))).collect()
}

fn responses(session: &mut Session) -> Vec<DeltaResponse> {
    std::iter::from_fn(|| session.next_response()).collect()
}

fn words(response: &DeltaResponse) -> Vec<String> {
    let text = |e: &Entry| String::from_utf8_lossy(&e.resource.body).into_owned();
    let upserts = response.upserts.iter().map(|e| format!("+{}={}", e.resource.name, text(e)));
    upserts.chain(response.removals.iter().map(|name| format!("-{name}"))).collect()
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// Accepts whatever is sent until there is silence; the log of it.
fn accept_all(session: &mut Session) -> Vec<(ResourceType, Vec<String>)> {
    let mut log = Vec::new();
    while let Some(response) = session.next_response() {
        log.push((response.ty, words(&response)));
        ack(session, &response);
    }
    log
}

/// A proxy that runs `config` and has told so.
fn settled(config: &Arc<ProxyConfig>, endpoints: &[&str]) -> Session {
    let mut session = Session::new();
    session.offer(1, Arc::clone(config));
    ask(&mut session, Cluster, &[]);
    ask(&mut session, Listener, &[]);
    if !endpoints.is_empty() {
        ask(&mut session, Endpoint, endpoints);
    }
    accept_all(&mut session);
    session
}

#[test]
fn first_request_for_all_is_answered_even_without_resources() {
    let mut session = Session::new();
    ask(&mut session, Cluster, &[]);
    assert_eq!(said(&mut session), [], "nothing was offered yet");
    session.offer(1, config(&[]));
    assert_eq!(said(&mut session), [(Cluster, vec![])]);
}

#[test]
fn resources_leave_ordered_by_name() {
    let mut session = Session::new();
    session.offer(1, config(&[(Cluster, "b", "1"), (Cluster, "a", "1"), (Cluster, "c", "1")]));
    ask(&mut session, Cluster, &[]);
    assert_eq!(said(&mut session), [(Cluster, list(&["+a=1", "+b=1", "+c=1"]))]);
}

#[test]
fn explicit_wildcard_and_names_stand_side_by_side() {
    let mut session = Session::new();
    session.offer(1, config(&[(Cluster, "a", "1"), (Cluster, "b", "1")]));
    ask(&mut session, Cluster, &["*"]);
    assert_eq!(accept_all(&mut session).len(), 1);
    ask(&mut session, Cluster, &["a"]);
    assert_eq!(accept_all(&mut session), [(Cluster, list(&["+a=1"]))]);
    session.offer(2, config(&[(Cluster, "a", "1"), (Cluster, "b", "2")]));
    assert_eq!(accept_all(&mut session), [(Cluster, list(&["+b=2"]))], "the wildcard goes on");
}

#[test]
fn name_that_left_beside_a_wildcard_is_answered() {
    let mut session = settled(&config(&[(Cluster, "a", "1")]), &[]);
    ask(&mut session, Cluster, &["a", "gone"]);
    accept_all(&mut session);
    let unsubscribe = names(&["a", "gone"]);
    heard(&mut session, DeltaRequest { unsubscribe, ..DeltaRequest::of(Cluster) });
    assert_eq!(accept_all(&mut session), [(Cluster, list(&["+a=1"])), (Cluster, list(&["-gone"]))]);
}

#[test]
fn unknown_name_is_held_until_it_appears() {
    let mut session = settled(&config(&[]), &["a"]);
    assert_eq!(said(&mut session), [], "no answer and no removal in advance");
    session.offer(2, config(&[(Endpoint, "a", "1")]));
    assert_eq!(accept_all(&mut session), [(Endpoint, list(&["+a=1"]))]);
    session.offer(3, config(&[]));
    assert_eq!(accept_all(&mut session), [(Endpoint, list(&["-a"]))]);
    session.offer(4, config(&[(Endpoint, "a", "1")]));
    assert_eq!(accept_all(&mut session), [(Endpoint, list(&["+a=1"]))], "the subscription outlives the removal");
}

#[test]
fn name_that_is_asked_for_again_is_answered_again() {
    let mut session = settled(&config(&[(Endpoint, "a", "1"), (Endpoint, "b", "1")]), &["a", "b"]);
    ask(&mut session, Endpoint, &["a"]);
    assert_eq!(accept_all(&mut session), [(Endpoint, list(&["+a=1"]))]);
}

#[test]
fn name_that_is_asked_for_again_while_it_is_on_its_way_is_sent_twice() {
    let mut session = settled(&config(&[(Endpoint, "a", "1")]), &["a"]);
    session.offer(2, config(&[(Endpoint, "a", "2")]));
    let first = responses(&mut session);
    ask(&mut session, Endpoint, &["a"]);
    assert_eq!(said(&mut session), [], "one response of a type at a time");
    ack(&mut session, &first[0]);
    assert_eq!(accept_all(&mut session), [(Endpoint, list(&["+a=2"]))]);
}

#[test]
fn reconnect_is_sent_only_what_differs() {
    let newest = config(&[(Cluster, "same", "1"), (Cluster, "changed", "2"), (Cluster, "new", "1")]);
    let mut session = Session::new();
    session.offer(7, Arc::clone(&newest));
    let version = |text: &str| Some(ContentHash::of(text.as_bytes()));
    let initial_versions = BTreeMap::from([
        ("same".into(), version("1")),
        ("changed".into(), version("1")),
        ("deleted".into(), version("1")),
        ("foreign".into(), None),
    ]);
    heard(&mut session, DeltaRequest { initial_versions, ..DeltaRequest::of(Cluster) });
    let log = accept_all(&mut session);
    assert_eq!(log, [(Cluster, list(&["+changed=2", "+new=1"])), (Cluster, list(&["-deleted", "-foreign"]))]);
}

#[test]
fn reconnect_without_endpoints_is_sent_them_though_clusters_are_equal() {
    let newest = config(&[(Cluster, "a", "1"), (Endpoint, "a", "1")]);
    let mut session = Session::new();
    session.offer(7, Arc::clone(&newest));
    let initial_versions = BTreeMap::from([("a".into(), Some(ContentHash::of(b"1")))]);
    heard(&mut session, DeltaRequest { initial_versions, ..DeltaRequest::of(Cluster) });
    ask(&mut session, Endpoint, &["a"]);
    assert_eq!(accept_all(&mut session), [(Cluster, vec![]), (Endpoint, list(&["+a=1"]))]);
}

#[test]
fn nack_keeps_the_last_good_and_the_bad_version_is_not_sent_again() {
    let mut session = settled(&config(&[(Listener, "a", "1")]), &[]);
    session.offer(2, config(&[(Listener, "a", "bad")]));
    let sent = responses(&mut session);
    assert_eq!(nack(&mut session, &sent[0], "no"), Heard::Nack);
    assert_eq!(said(&mut session), []);
    let rejection = session.rejections().next().expect("reported");
    assert_eq!((&*rejection.name, &*rejection.message), ("a", "no"));
    assert_eq!(session.answered(), Some(2), "a refusal is an answer");

    session.offer(3, config(&[(Listener, "a", "bad")]));
    assert_eq!(said(&mut session), [], "still the bad one");
    session.offer(4, config(&[(Listener, "a", "1")]));
    assert_eq!(said(&mut session), [], "the proxy kept it");
    assert_eq!(session.rejections().count(), 0);
    session.offer(5, config(&[(Listener, "a", "good")]));
    assert_eq!(accept_all(&mut session), [(Listener, list(&["+a=good"]))]);
}

fn spans(session: &Session) -> Vec<(u64, u64)> {
    session.rejections().flat_map(|r| r.spans.iter().map(|span| (span.after, span.upto))).collect()
}

#[test]
fn refusal_tells_the_revisions_that_brought_it_and_stands_until_it_is_healed() {
    let with = |l: &str, m: &str| config(&[(Listener, "l", l), (Listener, "m", m)]);
    let mut session = settled(&with("1", "1"), &[]);
    session.offer(3, with("1", "2"));
    accept_all(&mut session);
    session.offer(5, with("bad", "2"));
    let sent = responses(&mut session);
    nack(&mut session, &sent[0], "no");
    assert_eq!(spans(&session), [(3, 5)]);
    session.offer(7, with("bad", "3"));
    assert_eq!(accept_all(&mut session), [(Listener, list(&["+m=3"]))]);
    session.offer(8, with("worse", "3"));
    let sent = responses(&mut session);
    assert_eq!(spans(&session), [(3, 5)], "the proxy still does not run what 5 brought");
    nack(&mut session, &sent[0], "no");
    assert_eq!(spans(&session), [(3, 5), (7, 8)], "7 was accepted");
    session.offer(9, with("good", "3"));
    let sent = responses(&mut session);
    assert_eq!(session.rejections().count(), 1, "it is not there yet");
    ack(&mut session, &sent[0]);
    assert_eq!(session.rejections().count(), 0);
}

#[test]
fn refusal_of_what_is_taken_away_is_healed_by_its_removal() {
    let mut session = settled(&config(&[(Listener, "l", "1")]), &[]);
    session.offer(2, config(&[(Listener, "l", "bad")]));
    let sent = responses(&mut session);
    nack(&mut session, &sent[0], "no");
    session.offer(3, config(&[]));
    let removal = responses(&mut session);
    assert_eq!(words(&removal[0]), list(&["-l"]));
    assert_eq!(session.rejections().count(), 1);
    ack(&mut session, &removal[0]);
    assert_eq!(session.rejections().count(), 0);
    assert_eq!(session.answered(), Some(3));
}

#[test]
fn refused_renewal_of_a_secret_is_no_fault_of_a_revision() {
    let mut session = settled(&config(&[(Secret, "s", "1")]), &[]);
    ask(&mut session, Secret, &["s"]);
    accept_all(&mut session);
    session.offer(4, config(&[(Secret, "s", "2")]));
    accept_all(&mut session);
    session.offer(4, config(&[(Secret, "s", "bad")]));
    let sent = responses(&mut session);
    nack(&mut session, &sent[0], "no");
    assert!(session.rejections().all(|rejection| (0..9).all(|revision| !rejection.covers(revision))));
    assert_eq!(session.rejections().count(), 1);
}

#[test]
fn revision_without_news_for_the_proxy_is_answered_with_what_was_before_it() {
    let mut session = settled(&config(&[(Cluster, "a", "1")]), &[]);
    session.pass(7);
    assert_eq!((said(&mut session).len(), session.answered()), (0, Some(7)));
    session.offer(8, config(&[(Cluster, "a", "2")]));
    let sent = responses(&mut session);
    session.pass(9);
    assert_eq!(session.answered(), Some(7));
    ack(&mut session, &sent[0]);
    assert_eq!(session.answered(), Some(9));
    let mut without_configuration = Session::new();
    without_configuration.pass(9);
    assert_eq!(without_configuration.answered(), None);
}

#[test]
fn many_refusals_of_one_resource_are_told_apart_up_to_a_bound() {
    let mut session = settled(&config(&[(Listener, "l", "1")]), &[]);
    for revision in 2..50 {
        session.offer(revision, config(&[(Listener, "l", &format!("bad {revision}"))]));
        let sent = responses(&mut session);
        nack(&mut session, &sent[0], "no");
    }
    let spans = spans(&session);
    assert!(spans.len() <= 8, "{spans:?}");
    assert!((2..50).all(|revision| session.rejections().all(|rejection| rejection.covers(revision))));
}

#[test]
fn what_a_refusal_names_is_held_back_and_the_rest_is_sent_again() {
    let mut session = settled(&config(&[]), &[]);
    session.offer(2, config(&[(Cluster, "a", "1"), (Cluster, "a-b", "1"), (Cluster, "c", "1")]));
    let sent = responses(&mut session);
    nack(&mut session, &sent[0], "Error adding/updating cluster(s) a-b: port is missing.");
    assert_eq!(accept_all(&mut session), [(Cluster, list(&["+a=1", "+c=1"]))]);
    assert_eq!(session.rejections().map(|r| &*r.name).collect::<Vec<_>>(), ["a-b"]);
}

#[test]
fn the_bad_one_among_many_is_found_without_being_named() {
    let clusters: Vec<String> = (10..26).map(|n| format!("c{n}")).collect();
    let entries: Vec<_> = clusters.iter().map(|c| (Cluster, c.as_str(), "1")).collect();
    let mut session = settled(&config(&[]), &[]);
    session.offer(2, config(&entries));
    let mut have = Vec::new();
    let mut rounds = 0;
    while let Some(response) = session.next_response() {
        rounds += 1;
        if response.upserts.iter().any(|e| &*e.resource.name == "c17") {
            nack(&mut session, &response, "invalid");
        } else {
            have.extend(response.upserts.iter().map(|e| e.resource.name.to_string()));
            ack(&mut session, &response);
        }
    }
    have.sort();
    assert_eq!(have.len(), 15);
    assert_eq!(session.rejections().map(|r| &*r.name).collect::<Vec<_>>(), ["c17"]);
    assert!(rounds <= 16, "{rounds} responses");
    assert_eq!(session.answered(), Some(2));
}

#[test]
fn cluster_that_is_sent_again_after_a_refusal_brings_its_endpoints_along() {
    let mut session = settled(&config(&[(Cluster, "a", "1"), (Endpoint, "a", "1+1")]), &["a"]);
    session.offer(2, config(&[(Cluster, "a", "2"), (Cluster, "b", "bad"), (Endpoint, "a", "1+2")]));
    let sent = responses(&mut session);
    ack(&mut session, &sent[1]);
    nack(&mut session, &sent[0], "bad");
    let good = responses(&mut session);
    ack(&mut session, &good[0]);
    assert_eq!(words(&good[0]), list(&["+a=2"]));
    assert_eq!(said(&mut session), [(Cluster, list(&["+b=bad"])), (Endpoint, list(&["+a=1+2"]))]);
}

#[test]
fn long_refusals_are_cut_at_a_character() {
    let mut session = settled(&config(&[]), &[]);
    session.offer(2, config(&[(Cluster, "a", "1")]));
    let sent = responses(&mut session);
    nack(&mut session, &sent[0], &"ü".repeat(4000));
    assert_eq!(session.rejections().next().expect("reported").message.len(), MESSAGE_LEN_MAX);
}

#[test]
fn clusters_endpoints_listeners_secrets_then_removals() {
    let before = [(Cluster, "old", "1"), (Endpoint, "old", "1"), (Listener, "l", "old"), (Listener, "x", "1")];
    let mut session = settled(&config(&before), &["old", "new"]);
    ask(&mut session, Secret, &["s"]);
    let after = [(Cluster, "new", "1"), (Endpoint, "new", "1"), (Listener, "l", "new"), (Secret, "s", "1")];
    session.offer(2, config(&after));
    let first = responses(&mut session);
    let said: Vec<_> = first.iter().map(|r| (r.ty, words(r))).collect();
    assert_eq!(said, [(Cluster, list(&["+new=1"])), (Endpoint, list(&["+new=1"]))]);
    ack(&mut session, &first[0]);
    let second = responses(&mut session);
    let said: Vec<_> = second.iter().map(|r| (r.ty, words(r))).collect();
    assert_eq!(said, [(Listener, list(&["+l=new"])), (Secret, list(&["+s=1"]))]);
    for response in first[1..].iter().chain(&second) {
        assert_eq!(session.next_response(), None, "removals wait for every answer");
        ack(&mut session, response);
    }
    let log = accept_all(&mut session);
    assert_eq!(log, [(Listener, list(&["-x"])), (Cluster, list(&["-old"])), (Endpoint, list(&["-old"]))]);
    assert_eq!(session.answered(), Some(2));
}

#[test]
fn endpoints_wait_while_a_changed_cluster_cannot_be_sent() {
    let mut session = settled(&config(&[(Cluster, "a", "1"), (Endpoint, "a", "1")]), &["a"]);
    session.offer(2, config(&[(Cluster, "a", "2"), (Endpoint, "a", "1+2")]));
    let sent = responses(&mut session);
    ack(&mut session, &sent[1]);
    session.offer(3, config(&[(Cluster, "a", "3"), (Endpoint, "a", "1+3")]));
    assert_eq!(said(&mut session), [], "endpoints ahead of their cluster would leave it warming");
    ack(&mut session, &sent[0]);
    assert_eq!(said(&mut session), [(Cluster, list(&["+a=3"])), (Endpoint, list(&["+a=1+3"]))]);
}

#[test]
fn what_a_last_good_listener_may_use_is_not_removed() {
    let mut session = settled(&config(&[(Cluster, "old", "1"), (Listener, "l", "old")]), &[]);
    session.offer(2, config(&[(Cluster, "new", "1"), (Listener, "l", "bad")]));
    let clusters = responses(&mut session);
    ack(&mut session, &clusters[0]);
    let listeners = responses(&mut session);
    nack(&mut session, &listeners[0], "bad");
    assert_eq!(said(&mut session), [], "the cluster stays for the listener that stayed");
    assert_eq!(session.answered(), Some(2), "what is withheld is not waited for");
    session.offer(3, config(&[(Cluster, "new", "1"), (Listener, "l", "new")]));
    assert_eq!(accept_all(&mut session), [(Listener, list(&["+l=new"])), (Cluster, list(&["-old"]))]);
}

#[test]
fn superseded_offers_collapse() {
    let mut session = settled(&config(&[(Cluster, "a", "1")]), &[]);
    session.offer(2, config(&[(Cluster, "a", "2")]));
    let sent = responses(&mut session);
    for revision in 3..100 {
        session.offer(revision, config(&[(Cluster, "a", &revision.to_string())]));
        assert_eq!(said(&mut session), []);
    }
    ack(&mut session, &sent[0]);
    assert_eq!(session.answered(), Some(2), "the one that was sent");
    assert_eq!(accept_all(&mut session), [(Cluster, list(&["+a=99"]))]);
    assert_eq!(session.answered(), Some(99));
}

#[test]
fn response_speaks_only_of_names_that_are_still_wanted() {
    let mut session = settled(&config(&[(Endpoint, "a", "1"), (Endpoint, "b", "1")]), &["a", "b"]);
    session.offer(2, config(&[(Endpoint, "a", "2"), (Endpoint, "b", "2")]));
    heard(&mut session, DeltaRequest { unsubscribe: names(&["a"]), ..DeltaRequest::of(Endpoint) });
    assert_eq!(accept_all(&mut session), [(Endpoint, list(&["+b=2"]))]);
    session.offer(3, config(&[]));
    assert_eq!(accept_all(&mut session), [(Endpoint, list(&["-b"]))]);
}

#[test]
fn answer_to_something_else_is_stale() {
    let mut session = settled(&config(&[(Cluster, "a", "1")]), &[]);
    session.offer(2, config(&[(Cluster, "a", "2")]));
    let sent = responses(&mut session);
    let mut other = sent[0].clone();
    other.nonce = Nonce(4711);
    assert_eq!(ack(&mut session, &other), Heard::Stale);
    assert_eq!(session.answered(), Some(1));
    assert_eq!(ack(&mut session, &sent[0]), Heard::Ack);
    assert_eq!(ack(&mut session, &sent[0]), Heard::Stale, "an answer counts once");
}

#[test]
fn equal_configuration_of_a_newer_revision_is_held_at_once() {
    let same = config(&[(Cluster, "a", "1")]);
    let mut session = settled(&same, &[]);
    session.offer(9, Arc::clone(&same));
    assert_eq!(said(&mut session), []);
    assert_eq!(session.answered(), Some(9));
}

#[test]
fn revision_is_not_answered_before_listeners_were_asked_for() {
    let mut session = Session::new();
    session.offer(1, config(&[(Cluster, "a", "1"), (Listener, "l", "1")]));
    ask(&mut session, Cluster, &[]);
    accept_all(&mut session);
    assert_eq!(session.answered(), None);
    ask(&mut session, Listener, &[]);
    assert_eq!(session.answered(), None);
    accept_all(&mut session);
    assert_eq!(session.answered(), Some(1));
}

#[test]
fn flood_of_names_closes_the_stream() {
    let mut session = Session::new();
    let subscribe = (0..=NAMES_LEN_MAX).map(|n| Arc::from(n.to_string())).collect();
    let flood = DeltaRequest { subscribe, ..DeltaRequest::of(Endpoint) };
    assert_eq!(session.request(&flood), Err(CloseReason::TooManyNames));
}
