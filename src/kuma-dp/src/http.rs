//! HTTP clients.

/// A builder of clients; it makes sure that the process has chosen its TLS implementation.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    // An error says that it was chosen before, which is as well.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    reqwest::Client::builder()
}
