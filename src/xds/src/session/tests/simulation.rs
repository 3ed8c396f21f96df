//! Any interleaving of offers, deliveries, refusals, lost interest and reconnects, against a small
//! model of Envoy: it ends with the newest configuration or a reported refusal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// A resource of the model: its text is `v=<n> [bad] [refs=a,b] [secret=s]`.
fn is_bad(text: &str) -> bool {
    text.split(' ').any(|word| word == "bad")
}

fn refs<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let value = text.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    value.map_or_else(Vec::new, |list| list.split(',').filter(|name| !name.is_empty()).collect())
}

/// One mesh as a proxy sees it: versions by cluster and by listener; `true` is a bad resource.
#[derive(Clone, Debug)]
struct World {
    clusters: BTreeMap<u8, (u8, bool)>,
    endpoints: u8,
    listeners: BTreeMap<u8, (u8, bool)>,
    secret: u8,
}

impl World {
    fn config(&self) -> Arc<ProxyConfig> {
        let mut entries = Vec::new();
        let mut add = |ty, name: String, text: String, mix: Option<ContentHash>| {
            let mut entry = entry(ty, &name, &text);
            entry.version = mix.map_or(entry.version, |cluster| entry.version.mix(cluster));
            let version = entry.version;
            entries.push(entry);
            version
        };
        for (n, (version, bad)) in &self.clusters {
            let text = format!("v={version}{}", if *bad { " bad" } else { "" });
            let cluster = add(Cluster, format!("c{n}"), text, None);
            add(Endpoint, format!("c{n}"), format!("v={}", self.endpoints), Some(cluster));
        }
        for (n, (version, bad)) in &self.listeners {
            let uses: Vec<String> = self.clusters.keys().filter(|c| *c >= n).map(|c| format!("c{c}")).collect();
            let bad = if *bad { " bad" } else { "" };
            add(Listener, format!("l{n}"), format!("v={version} refs={} secret=s{bad}", uses.join(",")), None);
        }
        add(Secret, "s".to_owned(), format!("v={}", self.secret), None);
        with_entries(entries)
    }

    fn has_bad(&self) -> bool {
        self.clusters.values().chain(self.listeners.values()).any(|(_, bad)| *bad)
    }
}

/// As much of Envoy as matters: subscriptions follow from resources, a refused response changes
/// nothing, a changed cluster warms until its endpoints come.
#[derive(Debug, Default)]
struct Envoy {
    has: BTreeMap<ResourceType, BTreeMap<String, (ContentHash, String)>>,
    interest: BTreeMap<ResourceType, BTreeSet<String>>,
    warming: BTreeSet<String>,
    names_culprits: bool,
    ever_refused: bool,
}

impl Envoy {
    fn texts(&self, ty: ResourceType) -> BTreeMap<String, (ContentHash, String)> {
        self.has.get(&ty).cloned().unwrap_or_default()
    }

    /// The first requests of a stream.
    fn connect(&self) -> Vec<DeltaRequest> {
        let first = |ty| {
            let has = self.texts(ty);
            let initial_versions = has.iter().map(|(name, (v, _))| (name.as_str().into(), Some(*v))).collect();
            DeltaRequest { initial_versions, ..DeltaRequest::of(ty) }
        };
        let mut requests = vec![first(Cluster)];
        for ty in [Endpoint, Listener, Secret] {
            let interest = self.interest.get(&ty).cloned().unwrap_or_default();
            if ty == Listener {
                requests.push(first(ty));
            } else if !interest.is_empty() {
                let subscribe = interest.iter().map(|name| name.as_str().into()).collect();
                requests.push(DeltaRequest { subscribe, ..first(ty) });
            }
        }
        requests
    }

    /// Takes a response: what it sends back, subscriptions before the answer.
    fn receive(&mut self, response: &DeltaResponse) -> Vec<DeltaRequest> {
        let answer = DeltaRequest { nonce: Some(response.nonce), ..DeltaRequest::of(response.ty) };
        let text = |e: &Entry| String::from_utf8_lossy(&e.resource.body).into_owned();
        let bad: Vec<&Entry> = response.upserts.iter().filter(|e| is_bad(&text(e))).collect();
        if let Some(first) = bad.first() {
            self.ever_refused = true;
            let message = if self.names_culprits { format!("{}: is bad", first.resource.name) } else { "bad".into() };
            return vec![DeltaRequest { error: Some(message), ..answer }];
        }
        for entry in &response.upserts {
            let name = entry.resource.name.to_string();
            let new = (entry.version, text(entry));
            let old = self.has.entry(response.ty).or_default().insert(name.clone(), new.clone());
            match response.ty {
                Cluster if old.is_none_or(|old| old.1 != new.1) => drop(self.warming.insert(name)),
                Endpoint => drop(self.warming.remove(&name)),
                _ => {}
            }
        }
        for name in &response.removals {
            self.has.entry(response.ty).or_default().remove(&**name);
            if response.ty == Cluster {
                self.warming.remove(&**name);
            }
        }
        if response.ty == Listener && !self.ever_refused {
            self.assert_references_are_ready();
        }
        let clusters = self.texts(Cluster).into_keys().collect();
        let mut requests: Vec<_> = self.follow(Endpoint, clusters).into_iter().collect();
        let listeners = self.texts(Listener);
        let secrets = listeners.values().flat_map(|(_, text)| refs(text, "secret")).map(str::to_owned).collect();
        requests.extend(self.follow(Secret, secrets));
        requests.push(answer);
        requests
    }

    fn assert_references_are_ready(&self) {
        let clusters = self.texts(Cluster);
        for (name, (_, text)) in self.texts(Listener) {
            for cluster in refs(&text, "refs") {
                assert!(clusters.contains_key(cluster), "{name} refers to {cluster}, which is not there");
            }
        }
    }

    /// Wants exactly these names from now on.
    fn follow(&mut self, ty: ResourceType, wanted: BTreeSet<String>) -> Option<DeltaRequest> {
        let old = self.interest.insert(ty, wanted.clone()).unwrap_or_default();
        let list = |names: Vec<&String>| names.into_iter().map(|name| name.as_str().into()).collect::<Vec<Arc<str>>>();
        let subscribe = list(wanted.difference(&old).collect());
        let unsubscribe = list(old.difference(&wanted).collect());
        for name in &unsubscribe {
            self.has.entry(ty).or_default().remove(&**name);
        }
        if subscribe.is_empty() && unsubscribe.is_empty() {
            return None;
        }
        Some(DeltaRequest { subscribe, unsubscribe, ..DeltaRequest::of(ty) })
    }

    /// Forgets a name that it wants and asks for it again.
    fn ask_again(&mut self, ty: ResourceType, nth: u8) -> Option<DeltaRequest> {
        let interest = self.interest.get(&ty)?;
        let name = interest.iter().nth(usize::from(nth) % interest.len().max(1))?.clone();
        self.has.entry(ty).or_default().remove(&name);
        Some(DeltaRequest { subscribe: vec![name.as_str().into()], ..DeltaRequest::of(ty) })
    }
}

/// A session and an Envoy, with the wire between them.
struct Net {
    session: Session,
    envoy: Envoy,
    to_envoy: VecDeque<DeltaResponse>,
    to_session: VecDeque<DeltaRequest>,
}

impl Net {
    fn new(names_culprits: bool) -> Self {
        let envoy = Envoy { names_culprits, ..Envoy::default() };
        let mut net = Self { session: Session::new(), envoy, to_envoy: VecDeque::new(), to_session: VecDeque::new() };
        net.to_session.extend(net.envoy.connect());
        net
    }

    fn send(&mut self) {
        while let Some(response) = self.session.next_response() {
            assert!(
                self.to_envoy.iter().all(|other| other.ty != response.ty),
                "two responses of {:?} are on their way",
                response.ty
            );
            self.to_envoy.push_back(response);
        }
    }

    /// A cluster that warms while the stream ends is told of equal endpoints by nobody: Envoy goes on
    /// with those that it has when its time to fetch is over.
    fn reconnect(&mut self, offer: Option<(u64, Arc<ProxyConfig>)>) {
        let endpoints = self.envoy.texts(Endpoint);
        self.envoy.warming.retain(|cluster| !endpoints.contains_key(cluster));
        self.session = Session::new();
        self.to_envoy.clear();
        self.to_session.clear();
        self.to_session.extend(self.envoy.connect());
        if let Some((revision, config)) = offer {
            self.session.offer(revision, config);
        }
    }

    fn step_envoy(&mut self) -> bool {
        let Some(response) = self.to_envoy.pop_front() else { return false };
        self.to_session.extend(self.envoy.receive(&response));
        true
    }

    fn step_session(&mut self) -> bool {
        let Some(request) = self.to_session.pop_front() else { return false };
        self.session.request(&request).expect("within bounds");
        true
    }

    fn drain(&mut self) {
        for _ in 0..2_000 {
            self.send();
            let moved = self.step_session() | self.step_envoy();
            if !moved && self.to_envoy.is_empty() {
                return;
            }
        }
        panic!("the conversation does not end");
    }
}

#[derive(Clone, Debug)]
enum Action {
    Offer(World),
    Send,
    EnvoyReceives,
    SessionReceives,
    AskAgain(bool, u8),
    Reconnect,
}

fn world() -> impl Strategy<Value = World> {
    let resource = || (0..3u8, prop::bool::weighted(0.15));
    let clusters = prop::collection::btree_map(0..5u8, resource(), 0..5);
    let listeners = prop::collection::btree_map(0..3u8, resource(), 0..3);
    (clusters, 0..3u8, listeners, 0..3u8).prop_map(|(clusters, endpoints, listeners, secret)| World {
        clusters,
        endpoints,
        listeners,
        secret,
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => world().prop_map(Action::Offer),
        6 => Just(Action::Send),
        6 => Just(Action::EnvoyReceives),
        8 => Just(Action::SessionReceives),
        1 => (any::<bool>(), any::<u8>()).prop_map(|(secret, nth)| Action::AskAgain(secret, nth)),
        1 => Just(Action::Reconnect),
    ]
}

/// Every refusal blames the revision that brought the refused version.
fn check_blame(net: &Net, history: &[(u64, Arc<ProxyConfig>)]) {
    for rejection in net.session.rejections() {
        let version = |config: &ProxyConfig| Some(config.get(rejection.ty, &rejection.name)?.version);
        let brought = history.iter().rev().take_while(|(_, config)| version(config) == Some(rejection.version)).last();
        let (revision, _) = brought.expect("it was offered");
        assert!(rejection.covers(*revision), "{rejection:?} was brought by {revision}");
    }
}

/// What a proxy must run of `config`: everything but what it refused.
fn check_outcome(net: &Net, config: &ProxyConfig, revision: u64, has_bad: bool) {
    let rejected: BTreeMap<_, _> = net.session.rejections().map(|r| ((r.ty, &*r.name), r.version)).collect();
    for ((ty, name), version) in &rejected {
        let text = config.get(*ty, name).unwrap().resource.body.clone();
        assert!(is_bad(&String::from_utf8_lossy(&text)), "{ty:?} {name} {version} is held back for nothing");
    }
    for ty in [Cluster, Endpoint, Listener, Secret] {
        let has = net.envoy.texts(ty);
        let wanted = config.of(ty);
        for entry in wanted.iter() {
            let name = &entry.resource.name;
            let wants = matches!(ty, Cluster | Listener)
                || net.envoy.interest.get(&ty).is_some_and(|names| names.contains(&**name));
            if wants && !rejected.contains_key(&(ty, &**name)) {
                assert_eq!(has.get(&**name).map(|(v, _)| *v), Some(entry.version), "{ty:?} {name}");
            }
        }
        if !has_bad {
            let kept: Vec<_> = has.keys().filter(|name| wanted.get(name).is_none()).collect();
            assert_eq!(kept, Vec::<&String>::new(), "{ty:?} leaks");
        }
    }
    if !has_bad {
        assert!(rejected.is_empty());
        assert!(net.envoy.warming.is_empty(), "{:?} wait for endpoints for ever", net.envoy.warming);
    }
    assert_eq!(net.session.answered(), Some(revision), "a refusal is an answer as well");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_ends_with_the_newest_configuration_or_a_reported_refusal(
        names_culprits in any::<bool>(),
        actions in prop::collection::vec(action(), 1..80),
        last in world(),
    ) {
        let mut net = Net::new(names_culprits);
        let mut revision = 0;
        let mut history = Vec::new();
        for action in actions {
            match action {
                Action::Offer(world) => {
                    revision += 1;
                    let config = world.config();
                    net.session.offer(revision, Arc::clone(&config));
                    history.push((revision, config));
                }
                Action::Send => net.send(),
                Action::EnvoyReceives => drop(net.step_envoy()),
                Action::SessionReceives => drop(net.step_session()),
                Action::AskAgain(secret, nth) => {
                    let again = net.envoy.ask_again(if secret { Secret } else { Endpoint }, nth);
                    net.to_session.extend(again);
                }
                Action::Reconnect => net.reconnect(history.last().cloned()),
            }
        }
        let config = last.config();
        net.session.offer(revision + 1, Arc::clone(&config));
        history.push((revision + 1, Arc::clone(&config)));
        net.drain();
        check_blame(&net, &history);
        check_outcome(&net, &config, revision + 1, last.has_bad());
    }
}
