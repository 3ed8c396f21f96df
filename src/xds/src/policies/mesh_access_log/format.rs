//! What a line says: Envoy's operators stay, Kuma's are replaced by what the control plane knows.

use std::net::IpAddr;

use super::super::ProxyTraits;

/// Of connections.
const TCP: &str = "[%START_TIME%] %RESPONSE_FLAGS% %KUMA_MESH% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT%(%KUMA_SOURCE_SERVICE%)->%UPSTREAM_HOST%(%KUMA_DESTINATION_SERVICE%) took %DURATION%ms, sent %BYTES_SENT% bytes, received: %BYTES_RECEIVED% bytes";
/// Of requests.
const HTTP: &str = "[%START_TIME%] %KUMA_MESH% \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-B3-TRACEID?X-DATADOG-TRACEID)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%KUMA_SOURCE_SERVICE%\" \"%KUMA_DESTINATION_SERVICE%\" \"%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%\" \"%UPSTREAM_HOST%\"";

/// What a workload without a name is called.
pub(super) const UNKNOWN: &str = "unknown";

/// Which way traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Inbound,
    Outbound,
    /// Through a zone proxy.
    Unspecified,
}

/// What Kuma's operators stand for on one listener.
#[derive(Clone, Debug)]
pub(super) struct Operators {
    values: [(&'static str, String); 8],
    is_http: bool,
}

impl Operators {
    pub(super) fn new(
        proxy: &ProxyTraits<'_>,
        direction: Direction,
        source: &str,
        destination: &str,
        is_http: bool,
    ) -> Self {
        let address = match proxy.address.parse() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:0"),
            Ok(IpAddr::V4(_)) | Err(_) => format!("{}:0", proxy.address),
        };
        let direction = match direction {
            Direction::Inbound => "INBOUND",
            Direction::Outbound => "OUTBOUND",
            Direction::Unspecified => "UNSPECIFIED",
        };
        let zone = proxy.labels.get(model::labels::ZONE).cloned().unwrap_or_default();
        let values = [
            ("%KUMA_SOURCE_ADDRESS%", address),
            ("%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%", proxy.address.to_owned()),
            ("%KUMA_SOURCE_SERVICE%", source.to_owned()),
            ("%KUMA_DESTINATION_SERVICE%", destination.to_owned()),
            ("%KUMA_MESH%", proxy.mesh.to_owned()),
            ("%KUMA_TRAFFIC_DIRECTION%", direction.to_owned()),
            ("%KUMA_ZONE%", zone),
            ("%KUMA_WORKLOAD%", proxy.workload_kri()),
        ];
        Self { values, is_http }
    }

    /// The text with Kuma's operators replaced.
    pub(super) fn replace(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (operator, value)| text.replace(operator, value))
    }

    /// The line when the conf has no format.
    pub(super) fn default_line(&self) -> String {
        self.replace(if self.is_http { HTTP } else { TCP })
    }

    /// The value of an operator.
    pub(super) fn value(&self, operator: &str) -> &str {
        self.values.iter().find(|(name, _)| *name == operator).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}
