//! Clients that write and read at all replicas, and note what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use reqwest::header::IF_MATCH;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::group::{Address, Addresses, PATIENCE};
use crate::history::{Asked, History, Operation, Seen, Told};

const CLIENTS: u64 = 4;

/// So many values are written into a few resources; then others take their place.
const VALUES_OF_AGE: u64 = 200;
const KEYS_OF_AGE: u64 = 4;

/// Pause between the requests of a client: the machine is shared with what is tested.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a question may take before its client gives up.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Of 100 requests, how many do not go where there was no answer last.
const AVOIDED_PERCENT: u32 = 95;

/// The header that tells the revision of a resource or of a write.
const REVISION: &str = "kuma-revision";

/// Clients at work.
pub(crate) struct Clients {
    pub(crate) history: History,
    addresses: Addresses,
    next_value: Arc<AtomicU64>,
    acknowledged: watch::Sender<u64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Sets them to work.
    pub(crate) fn start(addresses: &Addresses, seed: u64) -> Result<Self> {
        let mut clients = Self {
            history: History::default(),
            addresses: addresses.clone(),
            next_value: Arc::new(AtomicU64::new(1)),
            acknowledged: watch::Sender::default(),
            stop: Arc::default(),
            tasks: Vec::new(),
        };
        for number in 0..CLIENTS {
            let client = Client {
                caller: Caller::new(clients.history.clone())?,
                addresses: addresses.clone(),
                next_value: Arc::clone(&clients.next_value),
                acknowledged: clients.acknowledged.clone(),
                rng: StdRng::seed_from_u64(seed + number),
                last: [None; KEYS_OF_AGE as usize],
                avoided: None,
            };
            clients.tasks.push(tokio::spawn(client.work(Arc::clone(&clients.stop))));
        }
        Ok(clients)
    }

    /// How many writes were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        *self.acknowledged.borrow()
    }

    /// Waits until so many more writes are acknowledged.
    pub(crate) async fn write_more(&self, more: u64, meanwhile: &str) -> Result<()> {
        let mut acknowledged = self.acknowledged.subscribe();
        let goal = *acknowledged.borrow() + more;
        let reached = acknowledged.wait_for(|count| *count >= goal);
        let in_time = tokio::time::timeout(PATIENCE, reached).await.is_ok();
        ensure!(in_time, "{meanwhile}: {} of {more} writes acknowledged", self.acknowledged() + more - goal);
        Ok(())
    }

    /// Ends their work, and reads every resource at every replica.
    pub(crate) async fn finish(mut self) -> Result<History> {
        self.stop.store(true, Ordering::Release);
        for task in self.tasks.drain(..) {
            task.await.context("a client failed")?;
        }
        let caller = Caller::new(self.history.clone())?;
        let keys = age(self.next_value.load(Ordering::Acquire)) + KEYS_OF_AGE;
        for address in self.addresses.all() {
            for key in 0..keys {
                for consistent in [true, false] {
                    let start = Instant::now();
                    while !matches!(caller.read(&address, key, consistent).await, Told::Read(_)) {
                        ensure!(start.elapsed() < PATIENCE, "{} does not answer", address.api);
                    }
                }
            }
        }
        Ok(self.history)
    }
}

/// The first resource of the age of a value.
fn age(value: u64) -> u64 {
    value / VALUES_OF_AGE * KEYS_OF_AGE
}

struct Client {
    caller: Caller,
    addresses: Addresses,
    next_value: Arc<AtomicU64>,
    acknowledged: watch::Sender<u64>,
    rng: StdRng,
    /// The resources of this age as it saw them last.
    last: [Option<(u64, u64)>; KEYS_OF_AGE as usize],
    /// The replica that did not answer last.
    avoided: Option<u64>,
}

impl Client {
    fn choose(&mut self) -> Address {
        let mut all = self.addresses.all();
        if all.len() > 1 && self.rng.random_range(0..100) < AVOIDED_PERCENT {
            all.retain(|address| Some(address.life) != self.avoided);
        }
        all.swap_remove(self.rng.random_range(0..all.len()))
    }

    async fn work(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Acquire) {
            let address = &self.choose();
            let slot = self.rng.random_range(0..KEYS_OF_AGE);
            let key = age(self.next_value.load(Ordering::Acquire)) + slot;
            let told = match self.rng.random_range(0..10) {
                0..=2 => self.caller.read(address, key, true).await,
                3 => self.caller.read(address, key, false).await,
                kind => {
                    let value = self.next_value.fetch_add(1, Ordering::AcqRel);
                    let known = self.last[slot as usize].filter(|(of, _)| *of == key && kind > 6);
                    self.caller.write(address, key, value, known.map(|(_, revision)| revision)).await
                }
            };
            self.avoided = if told == Told::Unknown { Some(address.life) } else { self.avoided };
            match told {
                Told::Written { revision, .. } => {
                    self.last[slot as usize] = Some((key, revision));
                    self.acknowledged.send_modify(|count| *count += 1);
                }
                Told::Read(Some((revision, _))) => self.last[slot as usize] = Some((key, revision)),
                _ => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Asks replicas and notes the answers.
struct Caller {
    http: reqwest::Client,
    history: History,
}

impl Caller {
    fn new(history: History) -> Result<Self> {
        // A connection a request: none is left over from a replica that died.
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).pool_max_idle_per_host(0).build()?;
        Ok(Self { http, history })
    }

    async fn write(&self, address: &Address, key: u64, value: u64, guard: Option<u64>) -> Told {
        let name = name(key);
        let body = json!({"type": "GlobalSecret", "name": name, "data": STANDARD.encode(value.to_string())});
        let mut request = self.http.put(format!("{}/global-secrets/{name}", address.api)).json(&body);
        if let Some(guard) = guard {
            request = request.header(IF_MATCH, guard);
        }
        self.noted(address, key, Asked::Write { value, guard }, request).await
    }

    async fn read(&self, address: &Address, key: u64, consistent: bool) -> Told {
        let query = if consistent { "?consistent=true" } else { "" };
        let request = self.http.get(format!("{}/global-secrets/{}{query}", address.api, name(key)));
        self.noted(address, key, Asked::Read { consistent }, request).await
    }

    async fn noted(&self, address: &Address, key: u64, asked: Asked, request: reqwest::RequestBuilder) -> Told {
        let begin = self.history.now();
        let told = self.told(asked, request).await;
        let end = self.history.now();
        self.history.note(Operation { key, life: address.life, asked, told, begin, end });
        told
    }

    async fn told(&self, asked: Asked, request: reqwest::RequestBuilder) -> Told {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Told::Refused,
            Err(_) => return Told::Unknown,
        };
        let revision = answer.headers().get(REVISION).and_then(|text| text.to_str().ok()?.parse().ok());
        match (asked, answer.status(), revision) {
            (Asked::Write { .. }, status @ (StatusCode::OK | StatusCode::CREATED), Some(revision)) => {
                Told::Written { revision, created: status == StatusCode::CREATED }
            }
            (Asked::Read { .. }, StatusCode::OK, Some(revision)) => match answer.json::<Value>().await {
                Ok(body) => Told::Read(seen(revision, &body)),
                Err(_) => Told::Unknown,
            },
            (Asked::Read { .. }, StatusCode::NOT_FOUND, _) => Told::Read(None),
            // Somebody else was first, or nobody leads: both say that nothing was written.
            (_, StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::SERVICE_UNAVAILABLE, _) => {
                Told::Refused
            }
            _ => Told::Unknown,
        }
    }
}

fn name(key: u64) -> String {
    format!("fault-{key}")
}

/// The value in a resource.
fn seen(revision: u64, body: &Value) -> Option<Seen> {
    let data = STANDARD.decode(body["data"].as_str()?).ok()?;
    Some((revision, std::str::from_utf8(&data).ok()?.parse().ok()?))
}
