//! The time that a client has: to send the head of a request, to send nothing between requests, and to
//! take an answer. A connection that exceeds it ends.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a client may take; `None`: forever.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// For the head of a request, from its first byte, or from the start of the connection.
    pub(crate) head: Option<Duration>,
    /// Between requests.
    pub(crate) idle: Option<Duration>,
    /// To take a part of an answer.
    pub(crate) write: Option<Duration>,
}

/// Whether a request is being answered. While it is, reads may take any time.
///
/// Counts beginnings and ends: the number is odd in between.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy(Arc<AtomicU64>);

impl Busy {
    /// The head of a request has come.
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// The request is answered.
    pub(crate) fn end(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What a read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// The rest of a head, since the instant.
    Head(Instant),
    /// The next request, since the instant.
    Request(Instant),
    /// Anything: a request is being answered.
    Anything,
}

/// A stream that ends when its client is too slow.
pub(crate) struct TimedStream<S> {
    inner: S,
    patience: Patience,
    busy: Busy,
    /// The count of `busy` for which `awaited` was found.
    seen: u64,
    awaited: Awaited,
    read_timer: Pin<Box<Sleep>>,
    /// Set while a write makes no progress.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedStream<S> {
    /// The stream of a connection that begins now.
    pub(crate) fn new(inner: S, patience: Patience, busy: Busy) -> Self {
        let now = Instant::now();
        let read_timer = Box::pin(tokio::time::sleep_until(now));
        Self { inner, patience, busy, seen: 0, awaited: Awaited::Head(now), read_timer, write_timer: None }
    }

    /// Notes what became of requests since the last look.
    fn settle(&mut self) {
        let count = self.busy.count();
        if count != self.seen {
            self.seen = count;
            self.awaited = if count % 2 == 1 { Awaited::Anything } else { Awaited::Request(Instant::now()) };
        }
    }

    /// Whether nothing was read for too long.
    fn poll_read_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.settle();
        let deadline = match self.awaited {
            Awaited::Head(since) => self.patience.head.map(|patience| since + patience),
            Awaited::Request(since) => self.patience.idle.map(|patience| since + patience),
            Awaited::Anything => None,
        };
        let Some(deadline) = deadline else { return Poll::Pending };
        if self.read_timer.deadline() != deadline {
            self.read_timer.as_mut().reset(deadline);
        }
        self.read_timer.as_mut().poll(cx)
    }

    /// What a write came to, unless it makes no progress for too long.
    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write_timer = None;
            return outcome;
        }
        let Some(patience) = self.patience.write else { return Poll::Pending };
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                self.settle();
                if matches!(self.awaited, Awaited::Request(_)) {
                    self.awaited = Awaited::Head(Instant::now());
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                ready!(self.poll_read_timer(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.written(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const HEAD: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(120);

    fn patience() -> Patience {
        Patience { head: Some(HEAD), idle: Some(IDLE), write: Some(Duration::from_secs(30)) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_ends_the_connection() {
        let (server, mut client) = duplex(64);
        let mut server = TimedStream::new(server, patience(), Busy::default());
        client.write_all(b"GET").await.unwrap();
        let started = Instant::now();
        let mut read = [0; 3];
        server.read_exact(&mut read).await.unwrap();
        let error = server.read_u8().await.unwrap_err();
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, HEAD));
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_client_may_be_silent_for_longer() {
        let (server, mut client) = duplex(64);
        let busy = Busy::default();
        let mut server = TimedStream::new(server, patience(), busy.clone());
        client.write_all(b"1").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'1');
        busy.begin();
        let unanswered = tokio::time::timeout(IDLE * 2, server.read_u8()).await;
        assert!(unanswered.is_err(), "a request that is answered for long is no fault of its client");
        busy.end();
        let later = tokio::time::timeout(IDLE / 2, server.read_u8()).await;
        assert!(later.is_err(), "it is still waited for");
        client.write_all(b"2").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'2');
        busy.begin();
        busy.end();
        let started = Instant::now();
        assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), IDLE, "a request that was answered at once was one as well");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends_the_connection() {
        let (server, _client) = duplex(4);
        let mut server = TimedStream::new(server, patience(), Busy::default());
        assert_eq!(server.write_all(b"too long").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
