//! The machine's own resolvers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How long one resolver may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The largest answer that is taken over UDP.
const DATAGRAM_LEN_MAX: usize = 65_535;

/// How a query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// The resolvers that unknown names are asked of, in order.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams(Vec<SocketAddr>);

impl Upstreams {
    /// These resolvers.
    #[cfg(test)]
    pub(crate) fn of(servers: Vec<SocketAddr>) -> Self {
        Self(servers)
    }

    /// The resolvers of a `resolv.conf`.
    ///
    /// # Errors
    /// When the file cannot be read or names none.
    pub(crate) fn from_resolv_conf(path: &str) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read {path}"))?;
        let upstreams = Self::parse(&text);
        if upstreams.0.is_empty() {
            bail!("no server found in {path}");
        }
        Ok(upstreams)
    }

    fn parse(text: &str) -> Self {
        let servers = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
        });
        Self(servers.map(|ip| SocketAddr::new(ip, 53)).collect())
    }

    /// The first answer, as the bytes that came; the query's id is kept.
    ///
    /// # Errors
    /// When no resolver answered.
    pub(crate) async fn forward(&self, query: &[u8], transport: Transport) -> Result<Vec<u8>> {
        let mut last = None;
        for server in &self.0 {
            let asked = async {
                match transport {
                    Transport::Udp => over_udp(*server, query).await,
                    Transport::Tcp => over_tcp(*server, query).await,
                }
            };
            match tokio::time::timeout(TIMEOUT, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(anyhow::anyhow!("{server} did not answer in {TIMEOUT:?}")),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no resolver")))
    }
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>> {
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; DATAGRAM_LEN_MAX];
    loop {
        let len = socket.recv(&mut answer).await?;
        if answer.get(..2) == query.get(..2) {
            answer.truncate(len);
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, query).await?;
    read_framed(&mut stream).await?.context("the resolver closed the connection")
}

/// Writes a message with its length before it (RFC 1035, 4.2.2).
pub(crate) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> Result<()> {
    let len = u16::try_from(message.len()).context("message is too long")?;
    stream.write_all(&len.to_be_bytes()).await?;
    stream.write_all(message).await?;
    Ok(())
}

/// Reads a message with its length before it; `None` when the peer is done.
pub(crate) async fn read_framed(stream: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut len = [0; 2];
    match stream.read_exact(&mut len).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_nameservers_are_used() {
        let upstreams = Upstreams::parse("# x\nsearch a\nnameserver 10.0.0.2\nnameserver ::1\nnameserver nonsense\n");
        assert_eq!(upstreams.0, ["10.0.0.2:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
    }

    #[test]
    fn a_machine_without_resolvers_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Upstreams::from_resolv_conf(file.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("no server found in"), "{error}");
    }
}
