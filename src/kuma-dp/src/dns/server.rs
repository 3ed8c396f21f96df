//! The server's sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, ResponseCode};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::answer::{from_table, reply};
use super::records::SharedRecords;
use super::upstream::{Transport, Upstreams, read_framed, write_framed};
use crate::settings::TransparentProxy;

/// How many queries may be under way at once; further ones wait in the socket's buffer.
const IN_FLIGHT_MAX: usize = 1024;

/// The largest query that is taken over UDP.
const QUERY_LEN_MAX: usize = 4096;

/// How long a TCP client may be silent.
const TCP_IDLE: Duration = Duration::from_secs(10);

/// Where the server listens: everywhere without a transparent proxy or with virtual networks, else
/// on loopback.
pub(crate) fn listen_addresses(proxy: Option<&TransparentProxy>, port: u16) -> Vec<SocketAddr> {
    let any4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let ips = match proxy {
        None => vec![any4],
        Some(proxy) => {
            let ipv4_only = proxy.ip_family_mode == "ipv4";
            match (proxy.redirect.vnet.networks.is_empty(), ipv4_only) {
                (true, true) => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                (true, false) => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
                (false, true) => vec![any4],
                (false, false) => vec![any4, IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            }
        }
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

/// A bound server.
#[derive(Debug)]
pub(crate) struct DnsServer {
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<TcpListener>,
    resolver: Resolver,
}

/// What a query is answered from.
#[derive(Clone, Debug)]
struct Resolver {
    records: SharedRecords,
    upstreams: Upstreams,
    in_flight: Arc<Semaphore>,
}

impl DnsServer {
    /// Binds UDP and TCP on every address.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub(crate) async fn bind(addresses: &[SocketAddr], records: SharedRecords, upstreams: Upstreams) -> Result<Self> {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for address in addresses {
            let advice = || format!("could not listen on {address} for DNS (--dns-proxy-port); is the port taken?");
            let listener = TcpListener::bind(address).await.with_context(advice)?;
            // Port 0 is for tests: UDP takes the port that TCP got.
            udp.push(Arc::new(UdpSocket::bind(listener.local_addr()?).await.with_context(advice)?));
            tcp.push(listener);
        }
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        Ok(Self { udp, tcp, resolver: Resolver { records, upstreams, in_flight } })
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// When a socket fails.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<()> {
        let mut loops = JoinSet::new();
        for socket in self.udp {
            loops.spawn(serve_udp(socket, self.resolver.clone()));
        }
        for listener in self.tcp {
            loops.spawn(serve_tcp(listener, self.resolver.clone()));
        }
        tokio::select! {
            Some(ended) = loops.join_next() => ended.context("the DNS server panicked")?,
            () = stop.cancelled() => Ok(()),
        }
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, resolver: Resolver) -> Result<()> {
    let mut buffer = vec![0; QUERY_LEN_MAX];
    loop {
        let permit = Arc::clone(&resolver.in_flight).acquire_owned().await?;
        let (len, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An ICMP error of an earlier answer is reported here and concerns nobody else.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => continue,
            Err(error) => return Err(error).context("DNS socket"),
        };
        let (query, socket, resolver) = (buffer[..len].to_vec(), Arc::clone(&socket), resolver.clone());
        tokio::spawn(async move {
            if let Some(answer) = resolver.answer(&query, Transport::Udp).await
                && let Err(error) = socket.send_to(&answer, client).await
            {
                tracing::debug!(%client, %error, "could not send a DNS answer");
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(listener: TcpListener, resolver: Resolver) -> Result<()> {
    loop {
        let permit = Arc::clone(&resolver.in_flight).acquire_owned().await?;
        let (stream, client) = listener.accept().await.context("DNS listener")?;
        let resolver = resolver.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &resolver).await {
                tracing::debug!(%client, error = format!("{error:#}"), "DNS connection ended");
            }
            drop(permit);
        });
    }
}

async fn converse(mut stream: TcpStream, resolver: &Resolver) -> Result<()> {
    while let Some(query) = tokio::time::timeout(TCP_IDLE, read_framed(&mut stream)).await?? {
        let Some(answer) = resolver.answer(&query, Transport::Tcp).await else { break };
        write_framed(&mut stream, &answer).await?;
    }
    Ok(())
}

impl Resolver {
    /// The bytes of the answer; `None` for what is no DNS query.
    async fn answer(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let query = Message::from_vec(bytes).ok()?;
        if let Some(answer) = from_table(&query, &self.records.current()) {
            return answer.to_vec().ok();
        }
        match self.upstreams.forward(bytes, transport).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "no resolver answered");
                reply(&query, ResponseCode::ServFail).to_vec().ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use hickory_proto::rr::{Name, RData, RecordType};

    use super::*;
    use crate::dns::DnsHandler;
    use crate::dynamic_config::Handler;
    use crate::readiness::Readiness;

    async fn ask(upstream: SocketAddr, name: &str, ty: RecordType) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), ty));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&query.to_vec().unwrap(), upstream).await.unwrap();
        let mut buffer = vec![0; 4096];
        let len = socket.recv(&mut buffer).await.unwrap();
        let answer = Message::from_vec(&buffer[..len]).unwrap();
        assert_eq!(answer.metadata.id, query.metadata.id);
        answer
    }

    async fn start(upstreams: Upstreams) -> SocketAddr {
        let records = SharedRecords::default();
        let readiness = Arc::new(Readiness::new(true, None).unwrap());
        let handler = DnsHandler { records: records.clone(), readiness };
        handler.changed(Some(br#"{"records":[{"name":"web.mesh","ips":["241.0.0.1"]}],"ttl":30}"#)).unwrap();
        let server = DnsServer::bind(&["127.0.0.1:0".parse().unwrap()], records, upstreams).await.unwrap();
        let address = server.udp[0].local_addr().unwrap();
        tokio::spawn(server.run(CancellationToken::new()));
        address
    }

    #[tokio::test]
    async fn names_of_the_mesh_are_answered_and_others_forwarded() {
        let upstream = start(nobody()).await;
        let server = start(through(upstream)).await;
        let answer = ask(server, "WEB.mesh.", RecordType::A).await;
        assert!(answer.metadata.authoritative);
        assert_eq!(answer.answers[0].data, RData::A(Ipv4Addr::new(241, 0, 0, 1).into()));
        assert_eq!(answer.answers[0].ttl, 30);
        let none = ask(server, "web.mesh.", RecordType::AAAA).await;
        assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
        let failed = ask(server, "elsewhere.example.", RecordType::A).await;
        assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = DnsServer::bind(&[address], SharedRecords::default(), nobody()).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--dns-proxy-port"), "{error}");
    }

    fn nobody() -> Upstreams {
        Upstreams::of(Vec::new())
    }

    fn through(server: SocketAddr) -> Upstreams {
        Upstreams::of(vec![server])
    }

    #[test]
    fn addresses_follow_the_transparent_proxy() {
        let text = |proxy: Option<&TransparentProxy>| {
            listen_addresses(proxy, 53).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(text(None), ["0.0.0.0:53"]);
        let mut proxy = TransparentProxy::default();
        assert_eq!(text(Some(&proxy)), ["127.0.0.1:53", "[::1]:53"]);
        proxy.ip_family_mode = "ipv4".to_owned();
        assert_eq!(text(Some(&proxy)), ["127.0.0.1:53"]);
        proxy.redirect.vnet.networks.push("docker0:172.17.0.0/16".to_owned());
        assert_eq!(text(Some(&proxy)), ["0.0.0.0:53"]);
    }
}
