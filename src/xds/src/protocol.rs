//! Protocols of ports, as Kuma names them.

use std::fmt;

/// The protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// No known name: handled as TCP.
    Unknown,
    /// `tcp`, also where nothing is said.
    #[default]
    Tcp,
    /// `tls`: handled as TCP.
    Tls,
    /// `http`: HTTP/1.
    Http,
    /// `http2`.
    Http2,
    /// `grpc`.
    Grpc,
    /// `mysql`: handled as TCP.
    Mysql,
}

impl Protocol {
    /// Reads a name, in any case; anything that is not known is [`Protocol::Unknown`].
    pub fn parse(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            "http" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "mysql" => Self::Mysql,
            _ => Self::Unknown,
        }
    }

    /// The protocol of a port that may not name one.
    pub fn parse_or_tcp(name: Option<&str>) -> Self {
        name.filter(|name| !name.is_empty()).map_or(Self::Tcp, Self::parse)
    }

    /// Kuma's name.
    pub const fn as_str(self) -> &'static str {
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

    /// Carried by HTTP, so that routes can act on requests.
    pub const fn is_http_based(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc)
    }

    /// Carried by HTTP/2.
    pub const fn is_http2_based(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
