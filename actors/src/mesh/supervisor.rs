//! One actor for each mesh that is stored: started, stopped, and started again after a panic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::registry::MESH;
use store::{Event, KindFilter, State};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::actor::{MeshActor, MeshDeleted};
use crate::shared::Shared;

/// Pause before an actor that panicked reads the store anew; it doubles up to the second one.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Keeps one actor for each stored mesh until the control plane drains.
pub(crate) async fn supervise(shared: Arc<Shared>) {
    let mut meshes: BTreeMap<Arc<str>, CancellationToken> = BTreeMap::new();
    let mut watch = shared.store.watch(None, KindFilter::Only(vec![MESH]));
    loop {
        let event = tokio::select! {
            event = watch.next() => event,
            () = shared.draining.cancelled() => None,
        };
        match event {
            None => break,
            Some(Event::Snapshot(state)) => {
                meshes.retain(|mesh, deleted| keep_if(is_stored(&state, mesh), deleted));
                for mesh in state.of_kind(MESH) {
                    start(&shared, &mut meshes, &mesh.key.name);
                }
            }
            Some(Event::Batch(batch)) => {
                for change in batch.changes.iter().filter(|change| change.key.kind == MESH) {
                    if change.after.is_some() {
                        start(&shared, &mut meshes, &change.key.name);
                    } else if let Some(deleted) = meshes.remove(&change.key.name) {
                        deleted.cancel();
                    }
                }
            }
        }
    }
    meshes.values().for_each(CancellationToken::cancel);
}

fn is_stored(state: &State, mesh: &str) -> bool {
    state.get(&model::Key::global(MESH, mesh)).is_some()
}

fn keep_if(stored: bool, deleted: &CancellationToken) -> bool {
    if !stored {
        deleted.cancel();
    }
    stored
}

fn start(shared: &Arc<Shared>, meshes: &mut BTreeMap<Arc<str>, CancellationToken>, mesh: &Arc<str>) {
    meshes.entry(Arc::clone(mesh)).or_insert_with(|| {
        let deleted = CancellationToken::new();
        shared.spawn(keep_running(Arc::clone(shared), Arc::clone(mesh), deleted.clone()));
        deleted
    });
}

async fn keep_running(shared: Arc<Shared>, mesh: Arc<str>, deleted: CancellationToken) {
    info!(%mesh, "mesh");
    restart(&mesh, &deleted, || {
        let (actor, ended) = MeshActor::start(&shared, &mesh);
        (move || actor.do_send(MeshDeleted), ended)
    })
    .await;
}

/// Starts an actor, again whenever it has ended by itself, and stops it when its mesh is deleted.
/// `start` gives how to stop it, and what fails when it has ended.
async fn restart<Stop: FnOnce()>(
    mesh: &str,
    deleted: &CancellationToken,
    mut start: impl FnMut() -> (Stop, oneshot::Receiver<()>),
) {
    let mut pause = RESTART_PAUSE;
    loop {
        let (stop, ended) = start();
        tokio::select! {
            _ = ended => {}
            () = deleted.cancelled() => return stop(),
        }
        metrics::counter!(crate::metrics::PANICS, "actor" => "mesh").increment(1);
        error!(mesh, "the actor of the mesh panicked, it reads the store anew");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use actix::prelude::*;
    use tokio::sync::mpsc;

    use super::*;
    use crate::runtime::Arbiters;

    /// Says that it lives, and panics when it is told to.
    struct Mortal {
        _alive: oneshot::Sender<()>,
    }

    struct Greet(mpsc::UnboundedSender<&'static str>, &'static str);

    impl Message for Greet {
        type Result = ();
    }

    impl Actor for Mortal {
        type Context = Context<Self>;
    }

    impl Handler<Greet> for Mortal {
        type Result = ();

        fn handle(&mut self, Greet(heard, word): Greet, _: &mut Self::Context) {
            assert_ne!(word, "die", "as it was told");
            heard.send(word).unwrap();
        }
    }

    fn mortal(arbiters: &Arbiters) -> (Addr<Mortal>, oneshot::Receiver<()>) {
        let (alive, ended) = oneshot::channel();
        (arbiters.spawn(move |_| Mortal { _alive: alive }), ended)
    }

    #[tokio::test]
    async fn actor_that_panics_is_started_again_and_its_neighbour_does_not_notice() {
        let arbiters = Arbiters::start(Some(1)).unwrap();
        let (neighbour, _lives) = mortal(&arbiters);
        let (heard, mut words) = mpsc::unbounded_channel();
        let (deleted, mut starts) = (CancellationToken::new(), 0);
        let supervision = restart("m", &deleted, || {
            let (actor, ended) = mortal(&arbiters);
            starts += 1;
            actor.do_send(Greet(heard.clone(), if starts == 1 { "die" } else { "again" }));
            let heard = heard.clone();
            (move || actor.do_send(Greet(heard, "stop")), ended)
        });
        let observation = async {
            assert_eq!(words.recv().await, Some("again"));
            neighbour.do_send(Greet(heard.clone(), "neighbour"));
            assert_eq!(words.recv().await, Some("neighbour"));
            deleted.cancel();
            assert_eq!(words.recv().await, Some("stop"));
        };
        tokio::join!(supervision, observation);
        arbiters.stop();
    }
}
