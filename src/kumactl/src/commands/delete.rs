//! `kumactl delete`.

use anyhow::{Result, bail};
use reqwest::Method;

use crate::cli::DeleteFlags;
use crate::client::{ApiError, Client};
use crate::resources::{by_argument, item_path, named};

/// Deletes a resource.
///
/// # Errors
/// An unknown type or resource, or what the control plane says.
pub(crate) async fn run(flags: &DeleteFlags, client: &Client) -> Result<()> {
    let Some(kind) = by_argument(&flags.kind) else {
        let mut allowed: Vec<_> = named().map(|kind| kind.kumactl_arg).chain(["global-secret"]).collect();
        allowed.sort_unstable();
        bail!("unknown TYPE: {}. Allowed values: {}", flags.kind, allowed.join(", "));
    };
    if kind.read_only {
        bail!("TYPE: {} is readOnly, can't use it for write action", flags.kind);
    }
    let answer = client.send(Method::DELETE, &item_path(kind, &flags.mesh, &flags.name), None).await?;
    let is_error_body = || serde_json::from_str::<ApiError>(&answer.body).is_ok();
    if answer.status.as_u16() == 404 && is_error_body() {
        bail!("there is no {kind} with name {:?}", flags.name);
    }
    answer.success()?;
    println!("deleted {kind} {:?}", flags.name);
    Ok(())
}
