//! Names of the metrics of the proxies' side, in one place.

/// Responses that were sent, by `type_url`.
pub(crate) const RESPONSES_SENT: &str = "xds_responses_sent";
/// Bytes of responses as they went to the connection, by `type_url`.
pub(crate) const RESPONSES_SENT_BYTES: &str = "xds_responses_sent_bytes";
/// Requests by `type_url` and `confirmation`: `ACK`, `NACK`, or empty.
pub(crate) const REQUESTS_RECEIVED: &str = "xds_requests_received";
/// Streams that are open.
pub(crate) const STREAMS_ACTIVE: &str = "xds_streams_active";
/// Streams that were refused, by nothing: the reason is in the log.
pub(crate) const STREAMS_REFUSED: &str = "xds_streams_refused";
/// How long a configuration took to make, in seconds, by `result`: `generated` or `skip`.
pub(crate) const GENERATION: &str = "xds_generation";
/// Identities or configurations that could not be made.
pub(crate) const GENERATION_ERRORS: &str = "xds_generation_errors";
/// From the commit of a change to the last answer of a proxy, in seconds, by `kind`.
pub(crate) const PROPAGATION: &str = "xds_propagation_seconds";
/// Parts of the same, by `hop`: `commit` (write to its arrival at the mesh), `fold` (to the view),
/// `wake` (to the proxy's turn), `generate` (to its configuration), `send` (a response to the
/// connection), `ack` (configuration to last answer).
pub(crate) const PROPAGATION_HOP: &str = "xds_propagation_hop_seconds";
/// Resources that connected proxies refuse now, by `type_url` and by `cause`: the kind of resource that
/// brought them, or `unknown`.
pub(crate) const REFUSED: &str = "xds_refused_resources";
/// Differences between what is kept up to date and what is made from nothing, by `of`: `view`,
/// `configuration`, `touched`. Counted in the mode that looks for them only.
pub(crate) const VERIFY_DIFFERENCES: &str = "xds_verify_differences_total";
/// Proxies that were regenerated because of a change, by `mesh`.
pub(crate) const REGENERATED: &str = "xds_dataplane_config_regenerated_total";
/// Actors that panicked, by `actor`.
pub(crate) const PANICS: &str = "actor_panics_total";
/// Writes of insights, by `result`: `written`, `equal`, `failed`.
pub(crate) const INSIGHT_WRITES: &str = "dataplane_insight_writes";
/// Identities that were issued.
pub(crate) const IDENTITIES_ISSUED: &str = "xds_identities_issued_total";
/// Proxies that wait after a failure to issue their identity.
pub(crate) const CERT_BACKOFF: &str = "cert_generation_backoff";
