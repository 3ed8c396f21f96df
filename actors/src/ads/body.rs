//! The outgoing half of a stream: responses are encoded when the connection has room for them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use xds::session::DeltaResponse;

use super::encode::encode;

/// What leaves on a stream.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A response, and since when it waits.
    Response(DeltaResponse, Instant),
    /// The end, and why.
    End(Status),
}

/// The body of the HTTP response of one stream.
pub(crate) struct OutgoingBody {
    responses: mpsc::Receiver<Outgoing>,
    control_plane: Arc<str>,
    /// What is left of the response that is being written.
    pieces: VecDeque<Bytes>,
    /// The connection is closed from this side.
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl OutgoingBody {
    /// A body that writes what is sent to `responses`, until `closing` is cancelled.
    pub(crate) fn new(
        responses: mpsc::Receiver<Outgoing>,
        control_plane: Arc<str>,
        closing: CancellationToken,
    ) -> Self {
        let closing = Box::pin(closing.cancelled_owned());
        Self { responses, control_plane, pieces: VecDeque::new(), closing, ended: false }
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.ended = true;
        let mut trailers = http::HeaderMap::new();
        // A status whose message cannot be a header still ends the stream.
        if status.add_header(&mut trailers).is_err() {
            trailers.insert("grpc-status", http::HeaderValue::from_static("2"));
        }
        Frame::trailers(trailers)
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.closing.as_mut().poll(cx).is_ready() {
                let status = Status::unavailable("another replica of the control plane has fewer proxies");
                return Poll::Ready(Some(Ok(self.end(&status))));
            }
            match self.responses.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Outgoing::Response(response, since))) => {
                    let pieces = encode(&response, &self.control_plane);
                    let len: usize = pieces.iter().map(Bytes::len).sum();
                    metrics::counter!(crate::metrics::RESPONSES_SENT_BYTES, "type_url" => response.ty.type_url())
                        .increment(len as u64);
                    metrics::histogram!(crate::metrics::PROPAGATION_HOP, "hop" => "send")
                        .record(since.elapsed().as_secs_f64());
                    self.pieces = pieces;
                }
                Poll::Ready(Some(Outgoing::End(status))) => return Poll::Ready(Some(Ok(self.end(&status)))),
                // The actor is gone without a word: the proxy connects anew.
                Poll::Ready(None) => {
                    let status = Status::unavailable("the stream ended");
                    return Poll::Ready(Some(Ok(self.end(&status))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn stream_of_a_connection_that_is_closed_ends_with_the_reason() {
        let (_out, responses) = mpsc::channel(1);
        let closing = CancellationToken::new();
        let mut body = OutgoingBody::new(responses, "cp".into(), closing.clone());
        closing.cancel();
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        let status = Status::from_header_map(&frame.into_trailers().unwrap()).unwrap();
        assert!(status.message().contains("fewer proxies"), "{status}");
    }

    #[tokio::test]
    async fn stream_of_an_actor_that_is_gone_ends_so_that_the_proxy_connects_anew() {
        let (out, responses) = mpsc::channel(1);
        let mut body = OutgoingBody::new(responses, "cp".into(), CancellationToken::new());
        drop(out);
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        let trailers = frame.into_trailers().unwrap();
        assert_eq!(Status::from_header_map(&trailers).unwrap().code(), tonic::Code::Unavailable);
        assert!(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_none());
    }
}
