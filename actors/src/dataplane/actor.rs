//! The shell around a [`Session`]: requests and views go in, responses go out.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use futures::StreamExt;
use model::Timestamp;
use store::Revision;
use tokio::sync::mpsc;
use tokio_stream::wrappers::WatchStream;
use tonic::{Status, Streaming};
use tracing::{debug, error, info, warn};
use xds::session::Heard;
use xds::view::DataplaneEntry;
use xds::{Memo, MeshView, ProxyConfig, ProxyInputs, Session};

use super::exchange_log::ExchangeLog;
use super::inquiry::Inquiry;
use super::refusals::Refusals;
use super::travel::Travel;
use super::verify;
use crate::admission::{Admitted, check_node};
use crate::ads::body::Outgoing;
use crate::ads::request::delta_request;
use crate::hub::{Published, Seat};
use crate::identities::{AdminCertificate, Held, Identity, Need};
use crate::insights::{Connection, mtls};
use crate::shared::Shared;

/// A view that touches this proxy, newest first.
struct Offered(Option<Arc<Published>>);

/// The control plane is going away.
struct Draining;

/// Whether the first configuration may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    NotAsked,
    Waiting,
    Come,
}

/// See the module.
pub(crate) struct DataplaneActor {
    shared: Arc<Shared>,
    session: Session,
    out: mpsc::Sender<Outgoing>,
    inputs: ProxyInputs,
    memo: Memo,
    newest: Option<Arc<Published>>,
    /// What was offered last, and the number of its view.
    offered: Option<(u64, Arc<ProxyConfig>)>,
    turn: Turn,
    identity: Held,
    admin: AdminCertificate,
    /// For which epoch and Dataplane the certificates were found to be the right ones.
    settled: Option<(u64, Arc<DataplaneEntry>)>,
    log: ExchangeLog,
    /// The newest revision of which the hub knows that this proxy answered it.
    answered: Option<u64>,
    refusals: Refusals,
    travel: Travel,
    /// Last: whoever waits for the place finds everything else gone.
    seat: Seat,
}

impl DataplaneActor {
    /// Starts the actor of an admitted stream.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        admitted: Admitted,
        first: DeltaDiscoveryRequest,
        requests: Streaming<DeltaDiscoveryRequest>,
        out: mpsc::Sender<Outgoing>,
    ) {
        let actor_shared = Arc::clone(shared);
        shared.arbiters.spawn(move |ctx: &mut Context<Self>| {
            let offers = WatchStream::new(admitted.seat.offers.clone()).map(Offered);
            let drained = actor_shared.draining.clone().cancelled_owned();
            ctx.add_stream(futures::stream::once(futures::future::ready(Ok(first))).chain(requests));
            ctx.add_stream(offers);
            ctx.add_stream(futures::stream::once(drained).map(|()| Draining));
            metrics::gauge!(crate::metrics::STREAMS_ACTIVE).increment(1.0);
            actor_shared.insights.connected(Connection::open(&actor_shared.settings, &admitted, Timestamp::now()));
            Self {
                shared: actor_shared,
                session: Session::new(),
                out,
                inputs: ProxyInputs::new(&admitted.seat.id.name, admitted.metadata),
                memo: Memo::default(),
                admin: AdminCertificate::default(),
                settled: None,
                newest: None,
                offered: None,
                turn: Turn::NotAsked,
                identity: Held::default(),
                log: ExchangeLog::default(),
                answered: None,
                refusals: Refusals::default(),
                travel: Travel::default(),
                seat: admitted.seat,
            }
        });
    }

    /// Ends the stream with a reason.
    fn end(&mut self, status: Status, ctx: &mut Context<Self>) {
        info!(proxy = %self.seat.id, %status, "stream ends");
        // A proxy that reads nothing will notice the end without the reason.
        drop(self.out.try_send(Outgoing::End(status)));
        ctx.stop();
    }

    /// Makes the configuration from the newest view and offers it.
    fn generate(&mut self) {
        let Some(published) = self.newest.clone() else { return };
        let started = Instant::now();
        let former_identity = std::mem::replace(&mut self.inputs.identity, self.identity.workload().cloned());
        match xds::generate(&published.view, &self.inputs, &mut self.memo) {
            Some(config) => {
                metrics::histogram!(crate::metrics::GENERATION, "proxy_type" => "dataplane", "result" => "generated")
                    .record(started.elapsed().as_secs_f64());
                if let Some(rebuilt) = &published.rebuilt {
                    let is_same_proxy = former_identity == self.inputs.identity;
                    self.verify(&published, rebuilt, &config, is_same_proxy);
                }
                if self.offered.as_ref().is_none_or(|(_, former)| former.faults != config.faults) {
                    self.seat.hub().faults(&self.seat, &config.faults);
                }
                self.travel.made(&published, started);
                self.offered = Some((published.number, Arc::clone(&config)));
                self.session.offer(published.revision.0, config);
            }
            None => {
                debug!(proxy = %self.seat.id, "its Dataplane is not in the mesh");
                // It goes on with what it has.
                self.session.pass(published.revision.0);
            }
        }
    }

    /// Tells when a configuration is not the one that follows from the store.
    fn verify(&self, published: &Published, rebuilt: &MeshView, config: &ProxyConfig, is_same_proxy: bool) {
        let anew = verify::with_rebuilt(config, rebuilt, &self.inputs);
        let former = self.offered.as_ref().filter(|_| is_same_proxy);
        let untouched = verify::with_former(config, former, published, &self.seat.id.name);
        for difference in [anew, untouched].into_iter().flatten() {
            self.shared.found_difference(difference.of);
            error!(proxy = %self.seat.id, of = difference.of, resource = difference.resource, "a wrong configuration");
        }
    }

    /// Sends what can be sent now, and tells the hub what is new of the proxy.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(response) = self.session.next_response() {
            let ty = response.ty;
            match self.out.try_send(Outgoing::Response(response, Instant::now())) {
                Ok(()) => {
                    self.log.sent(ty, Timestamp::now());
                    metrics::counter!(crate::metrics::RESPONSES_SENT, "type_url" => ty.type_url()).increment(1);
                }
                Err(mpsc::error::TrySendError::Full(_)) => {
                    let status = Status::resource_exhausted("responses were answered before they were read");
                    return self.end(status, ctx);
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return ctx.stop(),
            }
        }
        self.report();
    }

    /// Tells the hub what the proxy answered, and the insight what was exchanged.
    fn report(&mut self) {
        self.shared.insights.exchanged(self.seat.stream, self.log);
        let (answered, refusals) = (self.session.answered(), self.refusals.news());
        if answered == self.answered && refusals.is_none() {
            return;
        }
        self.answered = answered;
        self.seat.hub().answered(&self.seat, answered.map(Revision), refusals);
        if let Some(revision) = answered {
            self.travel.answered(revision, &self.shared.recent);
        }
    }

    /// Sees what the proxy refuses now, and has it found who is to blame.
    fn look_at_refusals(&mut self, ctx: &mut Context<Self>) {
        for rejection in self.refusals.update(self.session.rejections()) {
            let (type_url, name, message) = (rejection.ty.type_url(), &rejection.name, &rejection.message);
            warn!(proxy = %self.seat.id, type_url, resource = %name, message = &**message, "refused");
            let Some(published) = self.newest.clone() else { return };
            let (shared, hub) = (Arc::clone(&self.shared), Arc::clone(self.seat.hub()));
            let inquiry = Inquiry {
                changed: hub.changed(&self.seat, &rejection),
                inputs: self.inputs.clone(),
                rejection: rejection.clone(),
                published,
            };
            let finding = async move { inquiry.run(&shared, &hub).await };
            ctx.spawn(finding.into_actor(self).map(move |causes, actor, _| {
                if actor.refusals.blame(&rejection, causes) {
                    actor.report();
                }
            }));
        }
    }

    fn hear(&mut self, request: DeltaDiscoveryRequest, ctx: &mut Context<Self>) {
        if let Err(refusal) = check_node(&self.seat.id, &request) {
            return self.end(refusal.into(), ctx);
        }
        let Some(request) = delta_request(request) else { return };
        let heard = match self.session.request(&request) {
            Ok(heard) => heard,
            Err(reason) => return self.end(Status::resource_exhausted(reason.to_string()), ctx),
        };
        self.log.heard(request.ty, heard, Timestamp::now());
        let confirmation = match heard {
            Heard::Ack => "ACK",
            Heard::Nack => "NACK",
            Heard::Subscription | Heard::Stale => "",
        };
        let type_url = request.ty.type_url();
        metrics::counter!(crate::metrics::REQUESTS_RECEIVED, "type_url" => type_url, "confirmation" => confirmation)
            .increment(1);
        // Both can change the list: a refusal, and an answer to what healed it.
        if matches!(heard, Heard::Nack | Heard::Ack) {
            self.look_at_refusals(ctx);
        }
        self.pump(ctx);
    }

    /// Sees that the proxy has the identity that is its own by the newest view, or that one is made.
    fn renew_identity(&mut self, ctx: &mut Context<Self>) {
        let need = Need::of(&self.shared.store.snapshot(), &self.seat.id, &self.shared.settings.zone);
        match self.identity.step(need, Timestamp::now()) {
            Identity::Ready => {
                if let Some(due) = self.identity.due_in(Timestamp::now()) {
                    let timer = ctx.run_later(due, |actor, ctx| actor.identity_is_due(ctx));
                    if let Some(old) = self.identity.timer.replace(timer) {
                        ctx.cancel_future(old);
                    }
                }
            }
            Identity::Issue(wanted) => {
                let issued = Arc::clone(&self.shared);
                let id = self.seat.id.clone();
                let making = async move { issued.identities.issue(&id, *wanted).await };
                ctx.spawn(making.into_actor(self).map(|result, actor, ctx| {
                    actor.identity.issued(result);
                    actor.identity_is_due(ctx);
                }));
            }
            Identity::Waiting => {}
        }
    }

    /// Sees that the proxy's admin listener has a certificate for the proxy's address.
    fn renew_admin_certificate(&mut self, ctx: &mut Context<Self>) {
        let state = self.shared.store.snapshot();
        let Some(wanted) = self.admin.step(&state, &self.seat.id) else { return };
        let shared = Arc::clone(&self.shared);
        let making = async move { shared.identities.issue_admin(wanted).await };
        ctx.spawn(making.into_actor(self).map(|certificate, actor, ctx| {
            actor.inputs.admin = actor.admin.issued(certificate);
            actor.identity_is_due(ctx);
        }));
    }

    /// Whether nothing that decides about certificates changed since they were settled. What their age
    /// asks for comes with a timer.
    fn is_settled(&self, published: &Published) -> bool {
        let own = published.view.dataplane(&self.seat.id.name);
        self.settled
            .as_ref()
            .zip(own)
            .is_some_and(|((epoch, entry), own)| *epoch == published.identity_epoch && Arc::ptr_eq(entry, own))
    }

    /// The identity changed, or its time has come.
    fn identity_is_due(&mut self, ctx: &mut Context<Self>) {
        self.settled = None;
        self.renew_identity(ctx);
        self.renew_admin_certificate(ctx);
        if self.identity.is_complete() && self.admin.is_settled() {
            let own =
                self.newest.as_ref().and_then(|p| Some((p.identity_epoch, p.view.dataplane(&self.seat.id.name)?)));
            self.settled = own.map(|(epoch, entry)| (epoch, Arc::clone(entry)));
        }
        if !self.identity.may_generate() || !self.admin.is_settled() {
            return;
        }
        match self.turn {
            Turn::NotAsked => self.ask_for_turn(ctx),
            Turn::Waiting => {}
            Turn::Come => {
                let mtls = self.identity.issued_now().map(|issued| mtls(issued, &self.shared, &self.seat.id.mesh));
                self.shared.insights.identity(self.seat.stream, mtls);
                self.offer_newest(ctx);
            }
        }
    }

    fn offer_newest(&mut self, ctx: &mut Context<Self>) {
        self.generate();
        // A refusal may be healed by what is wanted now.
        self.look_at_refusals(ctx);
        self.pump(ctx);
    }

    /// Waits until few enough other proxies that connect have their first configuration made.
    fn ask_for_turn(&mut self, ctx: &mut Context<Self>) {
        self.turn = Turn::Waiting;
        let turn = Arc::clone(&self.shared.turns).acquire_owned();
        ctx.spawn(turn.into_actor(self).map(|permit, actor, ctx| {
            actor.turn = Turn::Come;
            actor.identity_is_due(ctx);
            // The next one's turn comes when this one's work is done.
            drop(permit);
        }));
    }
}

impl Actor for DataplaneActor {
    type Context = Context<Self>;
}

impl Drop for DataplaneActor {
    fn drop(&mut self) {
        metrics::gauge!(crate::metrics::STREAMS_ACTIVE).decrement(1.0);
        if std::thread::panicking() {
            metrics::counter!(crate::metrics::PANICS, "actor" => "dataplane").increment(1);
        }
        debug!(proxy = %self.seat.id, stream = self.seat.stream, "disconnected");
    }
}

impl StreamHandler<Result<DeltaDiscoveryRequest, Status>> for DataplaneActor {
    fn handle(&mut self, request: Result<DeltaDiscoveryRequest, Status>, ctx: &mut Self::Context) {
        match request {
            Ok(request) => self.hear(request, ctx),
            Err(status) => self.end(status, ctx),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl StreamHandler<Offered> for DataplaneActor {
    fn handle(&mut self, offered: Offered, ctx: &mut Self::Context) {
        let Offered(Some(published)) = offered else { return };
        let is_settled = self.is_settled(&published);
        self.newest = Some(published);
        if is_settled && self.turn == Turn::Come {
            self.offer_newest(ctx);
        } else {
            self.identity_is_due(ctx);
        }
    }

    /// The views of a mesh end only with the process.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl StreamHandler<Draining> for DataplaneActor {
    fn handle(&mut self, _: Draining, ctx: &mut Self::Context) {
        self.end(Status::unavailable("the control plane is shutting down"), ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}
