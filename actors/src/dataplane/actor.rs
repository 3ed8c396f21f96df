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
use tracing::{debug, info, warn};
use xds::session::{Heard, Rejection};
use xds::{Memo, ProxyInputs, Session};

use super::exchange_log::ExchangeLog;
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

/// See the module.
pub(crate) struct DataplaneActor {
    shared: Arc<Shared>,
    session: Session,
    out: mpsc::Sender<Outgoing>,
    inputs: ProxyInputs,
    memo: Memo,
    newest: Option<Arc<Published>>,
    identity: Held,
    admin: AdminCertificate,
    log: ExchangeLog,
    /// The newest revision of which the hub knows that this proxy answered it.
    answered: Option<u64>,
    /// Whether the hub knows what the proxy refused.
    rejections_told: bool,
    /// When the responses to a view began to leave: view and time.
    sending: Option<(Arc<Published>, Instant)>,
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
                newest: None,
                identity: Held::default(),
                log: ExchangeLog::default(),
                answered: None,
                rejections_told: true,
                sending: None,
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
        self.inputs.identity = self.identity.workload().cloned();
        match xds::generate(&published.view, &self.inputs, &mut self.memo) {
            Some(config) => {
                self.seat.hub().faults(&self.seat, &config.faults);
                self.session.offer(published.revision.0, config);
                if self.answered.is_none_or(|answered| answered < published.revision.0) {
                    self.sending = Some((published, started));
                }
                metrics::histogram!(crate::metrics::GENERATION, "proxy_type" => "dataplane", "result" => "generated")
                    .record(started.elapsed().as_secs_f64());
            }
            None => debug!(proxy = %self.seat.id, "its Dataplane is not in the mesh"),
        }
    }

    /// Sends what can be sent now, and tells the hub what is new of the proxy.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(response) = self.session.next_response() {
            let ty = response.ty;
            match self.out.try_send(Outgoing::Response(response)) {
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
        let answered = self.session.answered();
        let Some(revision) = answered.filter(|_| answered != self.answered || !self.rejections_told) else { return };
        self.answered = answered;
        let rejections =
            (!self.rejections_told).then(|| self.session.rejections().cloned().collect::<Arc<[Rejection]>>());
        self.rejections_told = true;
        self.seat.hub().answered(&self.seat, Revision(revision), rejections);
        if let Some((published, started)) = self.sending.take_if(|(published, _)| published.revision.0 <= revision) {
            let total = Timestamp::now().duration_since(published.committed_at).as_secs_f64().max(0.0);
            metrics::histogram!(crate::metrics::PROPAGATION, "kind" => published.kind).record(total);
            let hops = [("generate", started - published.folded_at), ("ack", started.elapsed())];
            for (hop, took) in hops {
                metrics::histogram!(crate::metrics::PROPAGATION_HOP, "hop" => hop).record(took.as_secs_f64());
            }
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
        if heard == Heard::Nack {
            for rejection in self.session.rejections() {
                warn!(proxy = %self.seat.id, type_url, resource = %rejection.name, message = &*rejection.message, "refused");
            }
        }
        // Both can change the list: a refusal, and an answer to what healed it.
        self.rejections_told &= !matches!(heard, Heard::Nack | Heard::Ack);
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

    /// The identity changed, or its time has come.
    fn identity_is_due(&mut self, ctx: &mut Context<Self>) {
        self.renew_identity(ctx);
        self.renew_admin_certificate(ctx);
        if self.identity.may_generate() && self.admin.is_settled() {
            let mtls = self.identity.issued_now().map(|issued| mtls(issued, &self.shared, &self.seat.id.mesh));
            self.shared.insights.identity(self.seat.stream, mtls);
            self.generate();
            self.pump(ctx);
        }
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
        self.newest = Some(published);
        self.rejections_told = false;
        self.identity_is_due(ctx);
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
