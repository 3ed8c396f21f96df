//! What goes wrong is said once, clearly, and disturbs nobody else.

use std::time::Duration;

use anyhow::Result;
use sandbox::{ControlPlane, ControlPlaneSettings, Process, Proxy, ProxySettings, Sandbox, Workload};
use serde_json::json;

use crate::world::{SOON, World};

#[tokio::test]
async fn a_token_for_another_dataplane_is_refused_and_the_others_go_on() -> Result<()> {
    let world = World::permitted("24h").await?;
    let workload = Workload::start("thief").await?;
    // The token of this agent is bound to another name than the dataplane that it claims to be.
    let token = world.control_plane.dataplane_token("default", "thief-1", "thief").await?;
    let token_file = world.sandbox.dir().join("thief-token");
    std::fs::write(&token_file, token)?;
    let resource = json!({
        "type": "Dataplane", "mesh": "default", "name": "backend-1", "labels": {"kuma.io/workload": "backend"},
        "networking": {"address": "127.0.0.1", "inbound": [{"port": workload.port()}]},
    });
    let arguments = [
        "run".to_owned(),
        format!("--cp-address={}", world.control_plane.dp_server()),
        format!("--ca-cert-file={}", world.control_plane.ca_file().display()),
        format!("--dataplane-token-file={}", token_file.display()),
        format!("--dataplane={resource}"),
        format!("--binary-path={}", world.sandbox.envoy().display()),
        format!("--work-dir={}", world.sandbox.dir().join("thief").display()),
        "--dns-enabled=false".to_owned(),
    ];
    let variables = [("KUMA_READINESS_PORT", sandbox::free_port()?.to_string())];
    let log = world.sandbox.dir().join("thief.log");
    let program = world.sandbox.bin("kuma-dp");
    let mut thief = Process::start("thief", &program, &arguments, &variables, log)?;
    // Envoy shows the message of a status as it travels: percent-encoded.
    let refusal = "proxy%20name%20from%20requestor:%20backend-1%20is%20different%20than%20in%20token:%20thief-1";
    let log = world.sandbox.dir().join("thief.log");
    let is_refused = async || std::fs::read_to_string(&log).is_ok_and(|text| text.contains(refusal));
    thief.wait_until("being refused", SOON, is_refused).await?;
    assert_eq!(world.client.call("/").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn invalid_resources_are_refused_with_all_their_faults() -> Result<()> {
    let sandbox = Sandbox::new().await?;
    let control_plane = ControlPlane::start(&sandbox, "kuma-cp", ControlPlaneSettings::default()).await?;
    let invalid = json!({
        "type": "MeshTimeout", "mesh": "default", "name": "t",
        "spec": {"targetRef": {"kind": "Mesh", "labels": {"a": "b"}}, "to": [{
            "targetRef": {"kind": "MeshService"}, "default": {"connectionTimeout": "0s"},
        }]},
    });
    let error = control_plane.apply(&invalid).await.unwrap_err().to_string();
    for part in ["400", "spec.targetRef.labels", "spec.to[0].targetRef.labels"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let nowhere = json!({"type": "MeshTimeout", "mesh": "nowhere", "name": "t", "spec": {}});
    let error = control_plane.apply(&nowhere).await.unwrap_err().to_string();
    assert!(error.contains("404") || error.contains("400"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_taken_port_and_a_locked_data_directory_are_named() -> Result<()> {
    let sandbox = Sandbox::new().await?;
    let control_plane = ControlPlane::start(&sandbox, "first", ControlPlaneSettings::default()).await?;
    let data = sandbox.dir().join("first").join("data");
    let api_port = control_plane.api().rsplit(':').next().unwrap_or_default().to_owned();
    let second = |variables: Vec<(&'static str, String)>, log: &str| {
        Process::start("second", &sandbox.bin("kuma-cp"), &["run"], &variables, sandbox.dir().join(log))
    };
    let other = sandbox.dir().join("other");
    let mut taken = second(
        vec![
            ("KUMA_GENERAL_WORK_DIR", other.display().to_string()),
            ("KUMA_STORE_RAFT_DATA_DIR", other.join("data").display().to_string()),
            ("KUMA_API_SERVER_HTTP_PORT", api_port.clone()),
            ("KUMA_API_SERVER_HTTPS_PORT", sandbox::free_port()?.to_string()),
            ("KUMA_DP_SERVER_PORT", sandbox::free_port()?.to_string()),
            ("KUMA_DIAGNOSTICS_SERVER_PORT", sandbox::free_port()?.to_string()),
        ],
        "taken.log",
    )?;
    assert!(!taken.ended(Duration::from_secs(60)).await?.success());
    assert!(taken.log().contains(&api_port), "{}", taken.log_tail());

    let mut locked = second(
        vec![
            ("KUMA_GENERAL_WORK_DIR", other.display().to_string()),
            ("KUMA_STORE_RAFT_DATA_DIR", data.display().to_string()),
        ],
        "locked.log",
    )?;
    assert!(!locked.ended(Duration::from_secs(60)).await?.success());
    let log = locked.log();
    assert!(log.contains("another process") && log.contains(&*data.display().to_string()), "{}", locked.log_tail());
    Ok(())
}

#[tokio::test]
async fn a_missing_envoy_is_named() -> Result<()> {
    let sandbox = Sandbox::new().await?;
    let arguments = ["run", "--name=a", "--mesh=default", "--binary-path=/nowhere/envoy", "--dns-enabled=false"];
    let log = sandbox.dir().join("agent.log");
    let mut agent = Process::start("kuma-dp", &sandbox.bin("kuma-dp"), &arguments, &[], log)?;
    assert_eq!(agent.ended(Duration::from_secs(60)).await?.code(), Some(1));
    assert!(agent.log().contains("could not find executable binary in any of the following paths"));
    Ok(())
}

#[tokio::test]
async fn an_agent_ends_with_its_envoy_and_envoy_with_its_agent() -> Result<()> {
    let sandbox = Sandbox::new().await?;
    let control_plane = ControlPlane::start(&sandbox, "kuma-cp", ControlPlaneSettings::default()).await?;
    let workload = Workload::start("backend").await?;
    let settings = ProxySettings::service("default", "backend-1", "backend", workload.port());
    let mut proxy = Proxy::start(&sandbox, &control_plane, &settings).await?;
    let admin = proxy.admin("/server_info").await?;
    assert!(admin.contains("LIVE"), "{admin}");
    proxy.process().kill().await?;
    let deadline = tokio::time::Instant::now() + SOON;
    while proxy.admin("/ready").await.is_ok() {
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "Envoy outlives its agent");
    }
    Ok(())
}

/// The disk that is full may be the one that the log is on.
#[test]
fn a_control_plane_that_cannot_say_why_it_ends_ends_with_its_code() {
    let sandbox = Sandbox::of_control_planes().unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(sandbox.bin("kuma-cp"));
    let ended = command.args(["run", "-c", "/is/not/there"]).stderr(full).status().unwrap();
    assert_eq!(ended.code(), Some(2));
}
