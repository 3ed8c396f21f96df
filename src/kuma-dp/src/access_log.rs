//! The access-log streamer: Envoy writes lines to a named pipe, kuma-dp sends them on over TCP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

/// How long connecting to a backend may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// One line of Envoy's log.
#[derive(Deserialize)]
struct Line {
    address: String,
    message: Value,
}

/// Serves the pipe at `path` until `stop`. The pipe is held open for writing too, so that it does not
/// end when Envoy closes its side.
///
/// # Errors
/// When the pipe cannot be made or read.
pub(crate) async fn run(path: PathBuf, stop: CancellationToken) -> Result<()> {
    make_pipe(&path)?;
    let reader = pipe::OpenOptions::new()
        .read_write(true)
        .open_receiver(&path)
        .with_context(|| format!("could not open {}", path.display()))?;
    let mut lines = BufReader::new(reader).lines();
    let mut backends = Backends::default();
    loop {
        tokio::select! {
            line = lines.next_line() => match line.context("access log pipe")? {
                Some(line) => backends.forward(&line).await,
                None => return Ok(()),
            },
            () = stop.cancelled() => return Ok(()),
        }
    }
}

fn make_pipe(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("could not remove {}", path.display())),
    }
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o666))
        .with_context(|| format!("could not make the pipe {}", path.display()))
}

/// One connection an address.
#[derive(Default)]
struct Backends(BTreeMap<String, TcpStream>);

impl Backends {
    /// Sends a line on; it is dropped, with a word, when its backend does not take it.
    async fn forward(&mut self, line: &str) {
        let Some((address, message)) = parse(line) else {
            tracing::warn!("dropping an access log line of unknown form");
            return;
        };
        if let Err(error) = self.send(&address, message.as_bytes()).await {
            self.0.remove(&address);
            tracing::warn!(backend = address, error = format!("{error:#}"), "dropping an access log line");
        }
    }

    async fn send(&mut self, address: &str, message: &[u8]) -> Result<()> {
        if !self.0.contains_key(address) {
            let stream = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await??;
            self.0.insert(address.to_owned(), stream);
        }
        if let Some(stream) = self.0.get_mut(address) {
            stream.write_all(message).await?;
        }
        Ok(())
    }
}

/// The backend and the bytes for it: a text goes as it is, an object as one line of JSON. The older
/// form `host:port;message` is understood too.
fn parse(line: &str) -> Option<(String, String)> {
    if let Ok(Line { address, message }) = serde_json::from_str(line) {
        let message = match message {
            Value::String(text) => text,
            other => format!("{other}\n"),
        };
        return Some((address, message));
    }
    let (address, message) = line.split_once(';')?;
    Some((address.to_owned(), format!("{message}\n")))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn both_forms_of_lines_are_understood() {
        let of = |address: &str, message: &str| Some((address.to_owned(), message.to_owned()));
        assert_eq!(parse(r#"{"address":"a:1","message":"text\n"}"#), of("a:1", "text\n"));
        assert_eq!(parse(r#"{"address":"a:1","message":{"x":1}}"#), of("a:1", "{\"x\":1}\n"));
        assert_eq!(parse("a:1;text"), of("a:1", "text\n"));
        assert_eq!(parse("nothing"), None);
    }

    #[tokio::test]
    async fn lines_reach_the_backend_even_after_the_writer_closed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("al.sock");
        make_pipe(&path).unwrap();
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = backend.local_addr().unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(path.clone(), stop.clone()));
        let write = |message: &'static str| {
            let (path, stop) = (path.clone(), stop.clone());
            async move {
                let line = format!("{{\"address\":\"{address}\",\"message\":\"{message}\"}}\n");
                // The pipe is made anew by `run`; until it is open there is no reader.
                while !stop.is_cancelled() {
                    if let Ok(mut pipe) = pipe::OpenOptions::new().open_sender(&path)
                        && pipe.write_all(line.as_bytes()).await.is_ok()
                    {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            }
        };
        write("one").await;
        write("two").await;
        let (mut stream, _) = backend.accept().await.unwrap();
        let mut received = [0; 6];
        stream.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"onetwo");
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}
