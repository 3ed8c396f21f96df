//! Any interleaving of changes, answers, refusals and reconnects of a few proxies, against the plain
//! story of what each of them was told and runs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use xds::session::{DeltaRequest, DeltaResponse};
use xds::{ContentHash, EncodedResource, Entry, ProxyConfig, ResourceType, Session};

use super::*;

const PROXIES: [&str; 3] = ["a", "b", "c"];
const RESOURCES: [&str; 3] = ["x", "y", "z"];

/// Resources by name: in which revision each was written, and whether Envoy refuses it.
type World = BTreeMap<&'static str, (u64, bool)>;

fn config(world: &World) -> Arc<ProxyConfig> {
    let clusters = world.iter().map(|(name, (revision, is_bad))| {
        let body = Bytes::from(format!("{revision} {}", if *is_bad { "bad" } else { "good" }));
        let version = ContentHash::of(&body);
        let resource = EncodedResource { ty: ResourceType::Cluster, name: (*name).into(), hash: version, body };
        Entry { resource: Arc::new(resource), version }
    });
    Arc::new(ProxyConfig::new([(ResourceType::Cluster, clusters.collect())], Vec::new()))
}

/// One stream, the Envoy at its other end, and what it was told, as a plain story.
struct Proxy {
    stream: u64,
    session: Session,
    in_flight: Vec<DeltaResponse>,
    /// The revision that was the newest when it connected.
    joined: u64,
    /// What the newest view that it was told of says.
    world: World,
    /// The view that it was told of last; others may have been skipped.
    told: u64,
    offered: u64,
    /// Revisions that touched it, each with the resource that it changed.
    touched_by: Vec<(u64, &'static str)>,
    /// Revisions whose version of a resource it refused.
    refused: BTreeSet<(u64, String)>,
}

/// The control plane of the test: an audience, and who is connected to it.
struct Net {
    audience: Audience<()>,
    worlds: BTreeMap<&'static str, World>,
    proxies: BTreeMap<&'static str, Proxy>,
    revision: u64,
    streams: u64,
}

impl Net {
    fn new() -> Self {
        let worlds = PROXIES.into_iter().map(|name| (name, World::new())).collect();
        Self { audience: audience(&[]), worlds, proxies: BTreeMap::new(), revision: 1, streams: 0 }
    }

    /// A burst of revisions: each writes or deletes one resource of some proxies.
    fn change(&mut self, changes: &[Change]) {
        let mut steps = Vec::new();
        for change in changes {
            self.revision += 1;
            let touched: Vec<_> = PROXIES.into_iter().filter(|name| change.proxies.contains(name)).collect();
            for name in &touched {
                let world = self.worlds.get_mut(name).unwrap();
                match change.write {
                    Some(is_bad) => drop(world.insert(change.resource, (self.revision, is_bad))),
                    None => drop(world.remove(change.resource)),
                }
                if let Some(proxy) = self.proxies.get_mut(name) {
                    proxy.touched_by.push((self.revision, change.resource));
                    proxy.world = world.clone();
                }
            }
            steps.push(step(self.revision, some(&touched)));
        }
        let news = news(steps);
        let touched = news.touched();
        self.audience.publish(&news, Instant::now(), |(), _| {});
        for (name, proxy) in &mut self.proxies {
            if touched.contains(name) {
                proxy.told = self.revision;
            }
        }
    }

    fn connect(&mut self, name: &'static str) {
        self.disconnect(name);
        self.streams += 1;
        assert!(self.audience.join(name.into(), self.streams, (), Instant::now()));
        let mut session = Session::new();
        session.request(&DeltaRequest::of(ResourceType::Cluster)).unwrap();
        session.request(&DeltaRequest::of(ResourceType::Listener)).unwrap();
        let proxy = Proxy {
            stream: self.streams,
            session,
            in_flight: Vec::new(),
            joined: self.revision,
            world: self.worlds[name].clone(),
            told: self.revision,
            offered: 0,
            touched_by: Vec::new(),
            refused: BTreeSet::new(),
        };
        self.proxies.insert(name, proxy);
    }

    fn disconnect(&mut self, name: &'static str) {
        if let Some(proxy) = self.proxies.remove(name) {
            self.audience.leave(name, proxy.stream);
        }
    }

    /// The actor of a proxy takes the newest view.
    fn wake(&mut self, name: &'static str) {
        let Some(proxy) = self.proxies.get_mut(name) else { return };
        if proxy.offered < proxy.told {
            proxy.offered = proxy.told;
            proxy.session.offer(proxy.told, config(&proxy.world));
            self.pump(name);
        }
    }

    /// Envoy answers the oldest response.
    fn answer(&mut self, name: &'static str) {
        let Some(proxy) = self.proxies.get_mut(name) else { return };
        if proxy.in_flight.is_empty() {
            return;
        }
        let response = proxy.in_flight.remove(0);
        let text = |entry: &Entry| String::from_utf8_lossy(&entry.resource.body).into_owned();
        let bad = response.upserts.iter().find(|entry| text(entry).ends_with("bad"));
        if let Some(bad) = bad {
            let revision = text(bad).split(' ').next().unwrap().parse().unwrap();
            proxy.refused.insert((revision, bad.resource.name.to_string()));
        }
        let error = bad.map(|entry| format!("{} is bad", entry.resource.name));
        let answer = DeltaRequest { nonce: Some(response.nonce), error, ..DeltaRequest::of(response.ty) };
        proxy.session.request(&answer).unwrap();
        self.pump(name);
    }

    fn pump(&mut self, name: &'static str) {
        let Some(proxy) = self.proxies.get_mut(name) else { return };
        proxy.in_flight.extend(std::iter::from_fn(|| proxy.session.next_response()));
        let refused = |rejection: &Rejection| RefusedResource { rejection: rejection.clone(), causes: Arc::default() };
        let refusals = proxy.session.rejections().map(refused).collect();
        let answered = proxy.session.answered().map(Revision);
        self.audience.answered(name, proxy.stream, answered, Some(refusals));
    }

    fn drain(&mut self) {
        for name in PROXIES {
            self.wake(name);
            while self.proxies.get(name).is_some_and(|proxy| !proxy.in_flight.is_empty()) {
                self.answer(name);
            }
        }
    }

    /// What the answer for a revision must be: whom it concerns is exact at any time.
    fn check_concerned(&self) {
        for revision in 1..=self.revision {
            let concerns = |proxy: &&Proxy| {
                revision <= proxy.joined || proxy.touched_by.iter().any(|(touched, _)| *touched == revision)
            };
            let concerned = self.proxies.values().filter(concerns).count();
            let total = ask(&self.audience, Asked::One(Revision(revision)));
            assert_eq!(total.concerned, concerned, "revision {revision}");
        }
    }

    /// When every answer is there nobody is pending, and who refused a revision is known.
    fn check_at_rest(&self, is_prompt: bool) {
        for revision in 1..=self.revision {
            let total = ask(&self.audience, Asked::One(Revision(revision)));
            assert_eq!(total.pending, [], "revision {revision}");
            for (name, proxy) in &self.proxies {
                let refuses = total.rejected.iter().any(|rejected| *rejected.name == **name);
                let must = proxy.must_refuse(revision);
                let may = revision <= proxy.joined || !is_prompt;
                assert!(!must || refuses, "{name} refused {revision}: {total:?}");
                assert!(must || may || !refuses, "{name} did not refuse {revision}: {total:?}");
            }
        }
    }
}

impl Proxy {
    /// Whether it refused the version that this revision brought, and has not had a good one since.
    fn must_refuse(&self, revision: u64) -> bool {
        let Some((_, resource)) = self.touched_by.iter().find(|(touched, _)| *touched == revision) else {
            return false;
        };
        let is_bad_still = self.world.get(resource).is_some_and(|(_, is_bad)| *is_bad);
        let since = |upto: u64| self.touched_by.iter().filter(move |(r, name)| name == resource && *r >= upto);
        is_bad_still && since(revision).all(|(r, _)| self.refused.contains(&(*r, (*resource).to_owned())))
    }
}

#[derive(Clone, Debug)]
struct Change {
    proxies: Vec<&'static str>,
    resource: &'static str,
    /// Whether the new version is bad; `None` deletes the resource.
    write: Option<bool>,
}

#[derive(Clone, Debug)]
enum Action {
    Change(Vec<Change>),
    Connect(&'static str),
    Disconnect(&'static str),
    Wake(&'static str),
    Answer(&'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let write = prop_oneof![3 => Just(Some(false)), 2 => Just(Some(true)), 1 => Just(None)];
    (prop::sample::subsequence(&PROXIES[..], 0..=3), prop::sample::select(&RESOURCES[..]), write)
        .prop_map(|(proxies, resource, write)| Change { proxies, resource, write })
}

fn action() -> impl Strategy<Value = Action> {
    let proxy = || prop::sample::select(&PROXIES[..]);
    prop_oneof![
        4 => prop::collection::vec(change(), 1..4).prop_map(Action::Change),
        2 => proxy().prop_map(Action::Connect),
        1 => proxy().prop_map(Action::Disconnect),
        6 => proxy().prop_map(Action::Wake),
        8 => proxy().prop_map(Action::Answer),
    ]
}

fn run(net: &mut Net, action: Action) {
    match action {
        Action::Change(changes) => net.change(&changes),
        Action::Connect(name) => net.connect(name),
        Action::Disconnect(name) => net.disconnect(name),
        Action::Wake(name) => net.wake(name),
        Action::Answer(name) => net.answer(name),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_ends_with_the_answer_of_the_model(actions in prop::collection::vec(action(), 1..60)) {
        let mut net = Net::new();
        for action in actions {
            run(&mut net, action);
            net.check_concerned();
        }
        net.drain();
        net.check_at_rest(false);
        // Good versions of everything heal all.
        let all = RESOURCES.map(|resource| Change { proxies: PROXIES.to_vec(), resource, write: Some(false) });
        net.change(&all);
        net.drain();
        for revision in 1..=net.revision {
            let total = ask(&net.audience, Asked::One(Revision(revision)));
            prop_assert_eq!(total.acked, total.concerned, "revision {}", revision);
        }
    }

    #[test]
    fn when_each_change_is_answered_before_the_next_the_answer_is_exact(
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let mut net = Net::new();
        for action in actions {
            match action {
                Action::Change(changes) => {
                    for change in changes {
                        net.change(&[change]);
                        net.drain();
                    }
                }
                action => run(&mut net, action),
            }
            net.drain();
            net.check_concerned();
            net.check_at_rest(true);
        }
    }
}
