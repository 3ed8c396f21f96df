//! `kumactl config`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{ApiServer, ConfigFile, Context, ControlPlane, Coordinates, Header};
use crate::cli::{AddFlags, ConfigCommand, ControlPlanesCommand};
use crate::client::Client;
use crate::key_values;
use crate::output::table;

/// Runs a `config` command.
///
/// # Errors
/// What keeps it from being done, in Kuma's words.
pub(crate) async fn run(command: ConfigCommand, mut file: ConfigFile, timeout: Duration) -> Result<()> {
    match command {
        ConfigCommand::View => println!("{}", file.text()?),
        ConfigCommand::ControlPlanes { command } => match command {
            ControlPlanesCommand::List => list(&file),
            ControlPlanesCommand::Switch { name } => {
                if !file.config.contexts.iter().any(|c| c.name == name) {
                    bail!("there is no Control Plane with name {name:?}");
                }
                file.config.current_context.clone_from(&name);
                file.save()?;
                println!("switched active Control Plane to {name:?}");
            }
            ControlPlanesCommand::Remove { name } => remove(&mut file, &name)?,
            ControlPlanesCommand::Add(flags) => add(&mut file, *flags, timeout).await?,
        },
    }
    Ok(())
}

fn list(file: &ConfigFile) {
    let config = &file.config;
    let active = config.contexts.iter().find(|c| c.name == config.current_context).map(|c| c.control_plane.as_str());
    let rows: Vec<_> = config
        .control_planes
        .iter()
        .map(|cp| {
            let mark = if active == Some(cp.name.as_str()) { "*" } else { "" };
            vec![mark.to_owned(), cp.name.clone(), cp.coordinates.api_server.url.clone()]
        })
        .collect();
    print!("{}", table(&["ACTIVE", "NAME", "ADDRESS"], &rows));
}

fn remove(file: &mut ConfigFile, name: &str) -> Result<()> {
    let config = &mut file.config;
    if !config.control_planes.iter().any(|cp| cp.name == name) {
        bail!("there is no Control Plane with name {name:?}");
    }
    config.control_planes.retain(|cp| cp.name != name);
    config.contexts.retain(|context| context.control_plane != name);
    if !config.contexts.iter().any(|c| c.name == config.current_context) {
        config.current_context = config.contexts.first().map(|c| c.name.clone()).unwrap_or_default();
    }
    let current = config.current_context.clone();
    file.save()?;
    println!("removed Control Plane {name:?}");
    if current.is_empty() {
        println!(
            "there is no active Control Plane left. Use `kumactl config control-planes add` to add a Control Plane and \
             make it active"
        );
    } else {
        println!("switched active Control Plane to {current:?}");
    }
    Ok(())
}

async fn add(file: &mut ConfigFile, flags: AddFlags, timeout: Duration) -> Result<()> {
    let control_plane = described(&flags)?;
    if !flags.skip_check {
        check(&control_plane.coordinates.api_server, timeout).await?;
    }
    let config = &mut file.config;
    let name = &flags.name;
    if flags.overwrite {
        config.control_planes.retain(|cp| cp.name != *name);
        config.contexts.retain(|context| context.name != *name);
    } else if config.control_planes.iter().any(|cp| cp.name == *name) {
        bail!("Control Plane with name {name:?} already exists. Use --overwrite to replace an existing one.");
    } else if config.contexts.iter().any(|context| context.name == *name) {
        bail!("Context with name {name:?} already exists");
    }
    config.control_planes.push(control_plane);
    config.contexts.push(Context { name: name.clone(), control_plane: name.clone(), defaults: None });
    config.current_context.clone_from(name);
    file.save()?;
    println!("added Control Plane {name:?}\nswitched active Control Plane to {name:?}");
    Ok(())
}

/// The control plane that the flags describe.
fn described(flags: &AddFlags) -> Result<ControlPlane> {
    reqwest::Url::parse(&flags.address).with_context(|| format!("API Server URL is invalid: {}", flags.address))?;
    if flags.client_cert_file.is_empty() != flags.client_key_file.is_empty() {
        bail!("Both --client-cert-file and --client-key-file needs to be specified");
    }
    let auth_conf: BTreeMap<_, _> = key_values::parse(&flags.auth_conf)?;
    match flags.auth_type.as_str() {
        "" => {}
        "tokens" if auth_conf.get("token").is_none_or(String::is_empty) => {
            bail!("--auth-conf is not valid: provide token=YOUR_TOKEN")
        }
        "tokens" => {}
        other => bail!("authentication plugin of type {other:?} is not found"),
    }
    let headers = key_values::parse(&flags.headers)?.into_iter().map(|(key, value)| Header { key, value }).collect();
    Ok(ControlPlane {
        name: flags.name.clone(),
        coordinates: Coordinates {
            api_server: ApiServer {
                url: flags.address.clone(),
                ca_cert_file: flags.ca_cert_file.clone(),
                client_cert_file: flags.client_cert_file.clone(),
                client_key_file: flags.client_key_file.clone(),
                headers,
                auth_type: flags.auth_type.clone(),
                auth_conf,
                skip_verify: flags.skip_verify,
            },
        },
    })
}

/// Whether there is a control plane of ours; it is asked without the token.
async fn check(server: &ApiServer, timeout: Duration) -> Result<()> {
    let anonymous = ApiServer { auth_type: String::new(), auth_conf: BTreeMap::new(), ..server.clone() };
    let index = Client::new(&anonymous, timeout)?
        .get_json("/")
        .await
        .context("could not connect to the Control Plane API Server")?;
    let text = |field: &str| index.get(field).and_then(|v| v.as_str()).unwrap_or_default();
    let product = text("product");
    if product != "Kuma" && !text("version").contains("preview") {
        bail!(
            "this CLI is for Kuma but the control plane you're connected to is {product}. Please use the CLI for your \
             control plane"
        );
    }
    Ok(())
}
