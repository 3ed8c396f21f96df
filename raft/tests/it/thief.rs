//! Somebody who holds the key of an authority, as who has stolen the disk of a replica.

use std::time::Duration;

use raft::ReplicaId;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_prost::ProstCodec;

/// The message of the service.
#[derive(Clone, PartialEq, prost::Message)]
struct Frame {
    #[prost(bytes = "vec", tag = "1")]
    body: Vec<u8>,
}

/// Shows certificates that it has signed itself.
pub(crate) struct Thief {
    identity: Identity,
}

/// A connection to a replica.
pub(crate) struct Connection {
    channel: Channel,
}

/// Certificate and key in the text of a file `cluster.pki`.
fn authority(pki: &str) -> (&str, &str) {
    let rest = pki.split_once('\n').unwrap().1;
    rest.split_at(rest.find("-----BEGIN PRIVATE").unwrap())
}

impl Thief {
    /// Who read a file `cluster.pki`, and says that it is a certain replica.
    pub(crate) fn with(pki: &str, id: ReplicaId) -> Self {
        let (certificate, key) = authority(pki);
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key).unwrap()).unwrap();
        let mut params = CertificateParams::new(vec!["replica.kuma-cp".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id.to_string());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let own = KeyPair::generate().unwrap();
        let shown = params.signed_by(&own, &issuer).unwrap();
        Self { identity: Identity::from_pem(shown.pem(), own.serialize_pem()) }
    }

    /// Connects to a replica, when that one's certificate is of the authority in `pki`.
    pub(crate) async fn connect(&self, address: &str, pki: &str) -> Result<Connection, tonic::transport::Error> {
        let tls = ClientTlsConfig::new()
            .domain_name("replica.kuma-cp")
            .ca_certificate(Certificate::from_pem(authority(pki).0))
            .identity(self.identity.clone());
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?.timeout(Duration::from_secs(10));
        Ok(Connection { channel: endpoint.tls_config(tls)?.connect().await? })
    }
}

impl Connection {
    /// Whether the replica takes the caller for a replica: it then finds fault with what it is asked,
    /// not with who asks.
    pub(crate) async fn is_believed(&mut self) -> bool {
        let mut client = Grpc::new(self.channel.clone());
        if client.ready().await.is_err() {
            return false;
        }
        let question = tonic::Request::new(Frame { body: b"what is no question".to_vec() });
        let path = PathAndQuery::from_static("/kuma.raft.v1.Replica/Call");
        let answer = client.unary::<_, Frame, _>(question, path, ProstCodec::default()).await;
        let status = answer.expect_err("it is no question");
        assert!(status.code() != Code::PermissionDenied, "it has shown a certificate: {status}");
        println!("answered {:?}: {}", status.code(), status.message());
        status.code() == Code::InvalidArgument
    }
}
