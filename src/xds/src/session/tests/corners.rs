//! Corners of the protocol that broke others. `docs/xds.md` lists them all.

use super::*;

#[test]
fn removed_secret_is_told() {
    let mut session = settled(&config(&[(Secret, "s", "1")]), &[]);
    ask(&mut session, Secret, &["s"]);
    accept_all(&mut session);
    session.offer(2, config(&[]));
    assert_eq!(accept_all(&mut session), [(Secret, list(&["-s"]))], "or what waits for it warms for ever");
    session.offer(3, config(&[(Secret, "s", "2")]));
    assert_eq!(accept_all(&mut session), [(Secret, list(&["+s=2"]))]);
}

#[test]
fn route_of_a_listener_that_is_gone_disturbs_nobody() {
    let mut session = settled(&config(&[(Cluster, "a", "1")]), &[]);
    let initial_versions = BTreeMap::from([("gone".into(), Some(ContentHash(7)))]);
    let request =
        DeltaRequest { initial_versions, subscribe: names(&["gone"]), ..DeltaRequest::of(ResourceType::Route) };
    heard(&mut session, request);
    session.offer(2, config(&[(Cluster, "a", "2")]));
    let log = accept_all(&mut session);
    assert_eq!(log[0], (Cluster, list(&["+a=2"])));
    assert_eq!(session.answered(), Some(2));
}

#[test]
fn renewed_certificate_between_clusters_and_endpoints_leaves_no_cluster_without_endpoints() {
    let with = |secret: &str| config(&[(Cluster, "a", "1"), (Endpoint, "a", "1"), (Secret, "s", secret)]);
    let mut session = Session::new();
    session.offer(1, with("1"));
    ask(&mut session, Cluster, &[]);
    ask(&mut session, Secret, &["s"]);
    let sent = responses(&mut session);
    session.offer(1, with("2"));
    ask(&mut session, Endpoint, &["a"]);
    for response in &sent {
        ack(&mut session, response);
    }
    let log = accept_all(&mut session);
    assert!(log.contains(&(Endpoint, list(&["+a=1"]))), "{log:?}");
    assert!(log.contains(&(Secret, list(&["+s=2"]))), "{log:?}");
}

#[test]
fn refused_cluster_leaves_the_endpoints_of_the_others_alone() {
    let mut session = settled(&config(&[(Cluster, "a", "1"), (Endpoint, "a", "1")]), &["a"]);
    session.offer(2, config(&[(Cluster, "a", "1"), (Cluster, "b", "unknown"), (Endpoint, "a", "1")]));
    let sent = responses(&mut session);
    nack(&mut session, &sent[0], "unknown extension");
    session.offer(3, config(&[(Cluster, "a", "1"), (Cluster, "b", "unknown"), (Endpoint, "a", "2")]));
    assert_eq!(accept_all(&mut session), [(Endpoint, list(&["+a=2"]))]);
    assert_eq!(session.answered(), Some(3));
}

#[test]
fn reconnect_with_old_versions_is_sent_the_newest() {
    let mut session = Session::new();
    session.offer(9, config(&[(Cluster, "a", "9")]));
    let initial_versions = BTreeMap::from([("a".into(), Some(ContentHash::of(b"1")))]);
    heard(&mut session, DeltaRequest { initial_versions, ..DeltaRequest::of(Cluster) });
    assert_eq!(
        accept_all(&mut session),
        [(Cluster, list(&["+a=9"]))],
        "a version is of its content, and never of another"
    );
}

#[test]
fn reader_that_answers_nothing_is_sent_one_response_of_a_type() {
    let with = |n: u64| {
        let text = n.to_string();
        config(&[(Cluster, "a", &text), (Endpoint, "a", &text), (Listener, "l", &text), (Secret, "s", &text)])
    };
    let mut session = settled(&with(1), &["a"]);
    ask(&mut session, Secret, &["s"]);
    accept_all(&mut session);
    let mut sent = Vec::new();
    for revision in 2..1000 {
        session.offer(revision, with(revision));
        sent.extend(responses(&mut session).iter().map(|response| response.ty));
    }
    assert_eq!(sent, [Cluster, Endpoint], "listeners wait for the answer to clusters");
}

#[test]
fn revision_that_brings_a_refused_version_back_is_to_blame_too() {
    let mut session = settled(&config(&[(Listener, "l", "1")]), &[]);
    session.offer(4, config(&[(Listener, "l", "bad")]));
    let sent = responses(&mut session);
    session.offer(5, config(&[(Listener, "l", "1")]));
    session.offer(6, config(&[(Listener, "l", "bad")]));
    nack(&mut session, &sent[0], "no");
    assert_eq!(spans(&session), [(1, 4), (5, 6)]);
}

#[test]
fn refused_version_that_is_wanted_again_while_another_is_accepted_stays_refused() {
    let mut session = settled(&config(&[(Listener, "l", "1")]), &[]);
    session.offer(4, config(&[(Listener, "l", "bad")]));
    let sent = responses(&mut session);
    nack(&mut session, &sent[0], "no");
    session.offer(5, config(&[(Listener, "l", "2")]));
    let sent = responses(&mut session);
    session.offer(6, config(&[(Listener, "l", "bad")]));
    ack(&mut session, &sent[0]);
    assert_eq!((said(&mut session), session.answered()), (vec![], Some(6)));
    assert_eq!(spans(&session), [(1, 4), (5, 6)]);
    session.offer(7, config(&[(Listener, "l", "2")]));
    assert_eq!((said(&mut session), session.rejections().count()), (vec![], 0));
}
