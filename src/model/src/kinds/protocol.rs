//! Application protocols of ports.

use std::fmt;

/// The protocol that a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Not given or not known.
    #[default]
    Unknown,
    /// Bytes.
    Tcp,
    /// TLS that is passed through.
    Tls,
    /// HTTP/1.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// MySQL.
    Mysql,
}

impl Protocol {
    /// Parses a protocol in any letter case; anything else is [`Protocol::Unknown`].
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            "http" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "mysql" => Self::Mysql,
            _ => Self::Unknown,
        }
    }

    /// The name; `<unknown>` for what is not known.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "<unknown>",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::Mysql => "mysql",
        }
    }

    /// Whether Envoy can route its requests.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
