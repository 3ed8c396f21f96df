//! Dataplanes whose address is a host name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::{ControlPlane, Names, Settings};
use futures::future::{BoxFuture, FutureExt, ready};
use model::registry::DATAPLANE;
use serde_json::json;

use crate::world::{World, settings};

/// What names stand for.
#[derive(Clone, Debug, Default)]
struct Book(Arc<Mutex<BTreeMap<String, IpAddr>>>);

impl Book {
    fn write(&self, name: &str, ip: &str) {
        self.0.lock().unwrap().insert(name.to_owned(), ip.parse().unwrap());
    }
}

impl Names for Book {
    fn look_up(&self, name: &str) -> BoxFuture<'static, Vec<IpAddr>> {
        ready(self.0.lock().unwrap().get(name).copied().into_iter().collect()).boxed()
    }
}

fn address(control_plane: &ControlPlane, name: &str) -> Option<String> {
    let (view, _) = control_plane.view("default")?;
    Some(view.dataplane(name)?.spec.address().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_replaced_by_their_addresses_and_followed() {
    let book = Book::default();
    book.write("web.example", "10.0.0.7");
    let settings = Settings { names: Arc::new(book.clone()), names_ttl: Duration::from_millis(1), ..settings() };
    let world = World::with(settings).await;
    for (name, host) in [("web", "web.example"), ("db", "db.example")] {
        let spec = json!({"networking": {"address": host, "inbound": [{"port": 8080}]}});
        world.put(DATAPLANE, name, spec).await;
    }
    world.until(|cp| address(cp, "web").as_deref() == Some("10.0.0.7")).await;
    assert_eq!(address(&world.control_plane, "db"), None, "what is not found is not there");

    book.write("db.example", "10.0.0.9");
    book.write("web.example", "10.0.0.8");
    world.until(|cp| address(cp, "db").as_deref() == Some("10.0.0.9")).await;
    world.until(|cp| address(cp, "web").as_deref() == Some("10.0.0.8")).await;
}
