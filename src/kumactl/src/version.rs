//! Which kumactl this is, and whether the control plane fits.

use serde_json::Value;

use crate::client::Client;

/// The version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const PRODUCT: &str = "Kuma";

/// Warns on standard error when client and server are not of one version.
pub(crate) async fn check(client: &Client) {
    match client.get_json("/").await {
        Err(error) => eprintln!(
            "WARNING: Failed to retrieve server version, can't check compatibility: Unable to retrieve server version: \
             {error:#}"
        ),
        Ok(index) => {
            let text = |field: &str| index.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (product, version) = (text("product"), text("version"));
            if (version != VERSION || product != PRODUCT) && !version.contains("preview") {
                eprintln!(
                    "WARNING: You are using kumactl version {VERSION} for {PRODUCT}, but the server returned version: \
                     {product} for {version}"
                );
            }
        }
    }
}

/// `kumactl version`.
pub(crate) async fn print(client: anyhow::Result<Client>, detailed: bool) {
    if detailed {
        println!("Client: ");
        println!("Product:       {PRODUCT}");
        println!("Version:       {VERSION}");
        println!("Git Tag:       v{VERSION}");
        println!("Git Commit:    unknown");
        println!("Build Date:    unknown");
    } else {
        println!("Client: {PRODUCT} {VERSION}");
    }
    let index = match client {
        Ok(client) => client.get_json("/").await,
        Err(error) => Err(error),
    };
    match index {
        Err(error) => eprintln!("Unable to connect to control plane: {error:#}"),
        Ok(index) if detailed => print!("Server: {}", crate::output::indent(&index.to_string())),
        Ok(index) => {
            let text = |field: &str| index.get(field).and_then(Value::as_str).unwrap_or_default();
            println!("Server: {} {}", text("product"), text("version"));
        }
    }
}
