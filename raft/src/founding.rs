//! How replicas with one list of peers found a group, whichever starts first, and never two.
//!
//! A replica with an empty directory looks at the others. When one of them is in a group, it joins
//! that. When every one of them is there and waits as well, the first of the list founds one. A
//! machine that is away keeps a group from being founded, but not from going on: a group that lives
//! somewhere must not get a second one beside it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;

use crate::authority_rotation::is_of_another_authority;
use crate::codec;
use crate::errors::OpenError;
use crate::join::Knock;
use crate::peers::{self, SERVICE};
use crate::pki::Pki;
use crate::rpc::{Frame, Presence, Reply, Request};
use crate::settings::{Peers, Settings};

/// How long one peer may take to answer, and the pause between rounds.
const ANSWER_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is said whom is waited for.
const REMINDER: Duration = Duration::from_secs(10);

/// The id in certificates of who has none yet.
const NOBODY: u64 = 0;

/// What a replica with an empty directory does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look again.
    Wait,
    /// Found a group.
    Found,
    /// Join the group of others.
    Join,
}

/// Decides from what the others are; `None` for one that does not answer.
fn decide(is_first: bool, others: &[Option<Presence>]) -> Step {
    if others.contains(&Some(Presence::Member)) {
        Step::Join
    } else if is_first && others.iter().all(|other| *other == Some(Presence::Waiting)) {
        Step::Found
    } else {
        Step::Wait
    }
}

/// Checks the list; the others' addresses.
pub(crate) fn others(peers: &Peers) -> Result<Vec<String>, OpenError> {
    let Peers { addresses, own, secret } = peers;
    if !addresses.contains(own) {
        let list = addresses.join(", ");
        return Err(OpenError::Settings(format!("own address {own} is not in the list of peers: {list}")));
    }
    if secret.trim().len() < SECRET_LEN_MIN {
        let least = SECRET_LEN_MIN;
        return Err(OpenError::Settings(format!("shared secret of the peers: expected {least} characters or more")));
    }
    Ok(addresses.iter().filter(|address| *address != own).cloned().collect())
}

/// A shorter secret could be guessed from one recorded handshake.
const SECRET_LEN_MIN: usize = 16;

/// Waits, and lets others see that it does, until it is clear what to do.
pub(crate) async fn gather(settings: &Settings, peers: &Peers, pki: &Pki) -> Result<Step, OpenError> {
    let others = others(peers)?;
    let is_first = peers.addresses.first() == Some(&peers.own);
    let start = |error: &dyn std::fmt::Display| OpenError::Start(error.to_string());
    let room = match settings.listen {
        Some(address) => WaitingRoom::open(address, pki, settings.certificate_renewal).await?,
        None => return Err(OpenError::Settings("peers need a replica listener".to_owned())),
    };
    let tls = pki.client_tls(NOBODY, settings.certificate_renewal).map_err(|e| start(&e))?;
    let connections = peers::Peers::new(tls);
    let knock = settings.join.as_ref().map(|join| Knock::with(&join.token)).transpose()?;
    let mut told: Option<Instant> = None;
    loop {
        let asked = others.iter().map(|address| presence(&connections, knock.as_ref(), address));
        let found = futures::future::join_all(asked).await;
        let strange = found.contains(&Err(Silence::Stranger));
        let found: Vec<_> = found.into_iter().map(Result::ok).collect();
        let step = decide(is_first, &found);
        if step != Step::Wait {
            room.close().await;
            return Ok(step);
        }
        if told.is_none_or(|at| at.elapsed() > REMINDER) {
            told = Some(Instant::now());
            let missing: Vec<_> = others.iter().zip(&found).filter(|(_, found)| found.is_none()).collect();
            let missing: Vec<_> = missing.into_iter().map(|(address, _)| address.as_str()).collect();
            tracing::info!(founder = peers.addresses.first(), ?missing, "waiting for the other replicas");
            if strange {
                tracing::warn!(
                    "a peer shows a certificate of another authority than the shared secret gives: when that of its \
                     group was replaced, name a file with its join token (store.raft.joinTokenFile)"
                );
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why it is not known what a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    NoAnswer,
    /// It shows a certificate of an authority that is not the one of the shared secret.
    Stranger,
}

/// What a peer is. One whose group has replaced its authority tells it to who has its join token.
async fn presence(connections: &peers::Peers, knock: Option<&Knock>, address: &str) -> Result<Presence, Silence> {
    let error = match connections.call(None, address, &Request::Presence, ANSWER_MAX).await {
        Ok(Reply::Presence(presence)) => return Ok(presence),
        Ok(_) => return Err(Silence::NoAnswer),
        Err(error) => error.to_string(),
    };
    tracing::debug!(error, "peer does not answer");
    if !is_of_another_authority(&error) {
        return Err(Silence::NoAnswer);
    }
    match knock {
        Some(knock) if knock.at(address).await.is_ok() => Ok(Presence::Member),
        _ => Err(Silence::Stranger),
    }
}

/// Tells peers that this replica waits.
struct WaitingRoom {
    close: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl WaitingRoom {
    async fn open(address: SocketAddr, pki: &Pki, renewal: Duration) -> Result<Self, OpenError> {
        let start = |error: &dyn std::fmt::Display| OpenError::Start(error.to_string());
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|e| OpenError::Settings(format!("replica listener {address}: {e}")))?;
        let tls = pki.server_tls(NOBODY, renewal).map_err(|e| start(&e))?;
        let router = Server::builder().tls_config(tls).map_err(|e| start(&e))?.add_service(Waiting);
        let (close, closed) = oneshot::channel();
        let task = tokio::spawn(async move {
            let signal = async move { drop(closed.await) };
            let served = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), signal).await;
            if let Err(error) = served {
                tracing::error!(%error, "replica listener stopped");
            }
        });
        Ok(Self { close, task })
    }

    /// Frees the port.
    async fn close(self) {
        drop(self.close);
        drop(self.task.await);
    }
}

#[derive(Clone, Copy)]
struct Waiting;

impl NamedService for Waiting {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<tonic::body::Body>> for Waiting {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(ProstCodec::<Frame, Frame>::default()).unary(Waiting, request).await) })
    }
}

impl UnaryService<Frame> for Waiting {
    type Response = Frame;
    type Future = BoxFuture<Response<Frame>, Status>;

    fn call(&mut self, request: tonic::Request<Frame>) -> Self::Future {
        Box::pin(async move {
            if request.peer_certs().is_none_or(|chain| chain.is_empty()) {
                return Err(Status::permission_denied("not a replica"));
            }
            match codec::decode::<Request>(&request.into_inner().body) {
                Ok(Request::Presence) => {
                    let reply = Reply::Presence(Presence::Waiting);
                    let body = codec::encode_in(reply.format(), &reply).map_err(|e| Status::internal(e.to_string()))?;
                    Ok(Response::new(Frame { body: body.into() }))
                }
                // It is not executed, so whoever asked may ask another one.
                Ok(_) => Err(Status::permission_denied("this replica is in no group yet")),
                Err(error) => Err(Status::invalid_argument(error.to_string())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_founds_when_all_wait_and_nobody_does_beside_a_group() {
        use Presence::{Joining, Member, Waiting};
        for (is_first, others, expected) in [
            (true, vec![], Step::Found),
            (true, vec![Some(Waiting), Some(Waiting)], Step::Found),
            (true, vec![Some(Waiting), None], Step::Wait),
            (true, vec![Some(Waiting), Some(Joining)], Step::Wait),
            (true, vec![None, Some(Member)], Step::Join),
            (false, vec![Some(Waiting), Some(Waiting)], Step::Wait),
            (false, vec![Some(Member), None], Step::Join),
            (false, vec![None, None], Step::Wait),
        ] {
            assert_eq!(decide(is_first, &others), expected, "{is_first} {others:?}");
        }
    }

    #[test]
    fn a_list_without_oneself_and_a_short_secret_are_refused() {
        let peers = |own: &str, secret: &str| Peers {
            addresses: vec!["a:1".to_owned(), "b:1".to_owned()],
            own: own.to_owned(),
            secret: secret.to_owned(),
        };
        assert_eq!(others(&peers("b:1", "0123456789abcdef")).unwrap(), ["a:1"]);
        assert!(others(&peers("c:1", "0123456789abcdef")).unwrap_err().to_string().contains("c:1"));
        assert!(others(&peers("a:1", "short")).unwrap_err().to_string().contains("16 characters"));
    }
}
