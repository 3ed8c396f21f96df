//! kumactl against a running control plane.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use sandbox::{ControlPlane, ControlPlaneSettings, Sandbox};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The command line with its own configuration.
pub(crate) struct Kumactl {
    pub(crate) binary: PathBuf,
    pub(crate) config: PathBuf,
}

impl Kumactl {
    /// One that speaks to a control plane.
    pub(crate) async fn of(sandbox: &Sandbox, control_plane: &ControlPlane) -> Result<Self> {
        let kumactl = Self { binary: sandbox.bin("kumactl"), config: sandbox.dir().join("kumactl-config") };
        let api = control_plane.api();
        kumactl.ok(&["config", "control-planes", "add", "--name=test", "--address", &api], "").await?;
        Ok(kumactl)
    }

    /// Runs a command with an input: exit code, standard output, standard error.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> Result<(Option<i32>, String, String)> {
        let mut child = Command::new(&self.binary)
            .arg("--config-file")
            .arg(&self.config)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("no input")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    }

    /// Runs a command that must go well.
    pub(crate) async fn ok(&self, arguments: &[&str], input: &str) -> Result<String> {
        let (code, out, err) = self.run(arguments, input).await?;
        anyhow::ensure!(code == Some(0) && err.is_empty(), "{arguments:?}: {out}{err}");
        Ok(out)
    }
}

#[tokio::test]
async fn resources_are_applied_shown_and_deleted() -> Result<()> {
    let sandbox = Sandbox::new().await?;
    let control_plane = ControlPlane::start(&sandbox, "kuma-cp", ControlPlaneSettings::default()).await?;
    let kumactl = Kumactl { binary: sandbox.bin("kumactl"), config: sandbox.dir().join("kumactl-config") };

    let api = control_plane.api();
    let added = kumactl.ok(&["config", "control-planes", "add", "--name=test", "--address", &api], "").await?;
    assert_eq!(added, "added Control Plane \"test\"\nswitched active Control Plane to \"test\"\n");

    let documents = "type: Mesh\nname: {{ mesh }}\n---\ntype: MeshTimeout\nmesh: {{ mesh }}\nname: t\nspec:\n  to:\n  - \
                     targetRef: {kind: Mesh}\n    default: {connectionTimeout: 90s}\n";
    let applied = kumactl.ok(&["apply", "-f", "-", "-v", "mesh=shop"], documents).await?;
    assert_eq!(
        applied,
        "resource type=\"Mesh\" mesh=\"\" name=\"shop\" Created\nresource type=\"MeshTimeout\" mesh=\"shop\" \
         name=\"t\" Created\n"
    );
    let again = kumactl.ok(&["apply", "-f", "-", "-v", "mesh=shop"], documents).await?;
    assert_eq!(again.matches("Updated").count(), 2);

    let shown = kumactl.ok(&["get", "meshtimeout", "t", "-m", "shop", "-o", "yaml"], "").await?;
    assert!(shown.contains("connectionTimeout: 1m30s"), "{shown}");
    let list = kumactl.ok(&["get", "meshes"], "").await?;
    assert!(list.starts_with("NAME") && list.contains("\nshop"), "{list}");

    let token = kumactl.ok(&["generate", "dataplane-token", "--mesh=shop", "--name=a", "--valid-for=1h"], "").await?;
    assert_eq!(token.split('.').count(), 3);

    assert_eq!(kumactl.ok(&["delete", "meshtimeout", "t", "-m", "shop"], "").await?, "deleted MeshTimeout \"t\"\n");
    let (code, _, error) = kumactl.run(&["delete", "meshtimeout", "t", "-m", "shop"], "").await?;
    assert_eq!(code, Some(1));
    assert_eq!(error, "Error: there is no MeshTimeout with name \"t\"\n");

    let (code, _, error) = kumactl.run(&["apply", "-f", "-"], "type: Nothing\nname: x\n").await?;
    assert!(code == Some(1) && error.contains("failed to validate some resources"), "{error}");
    Ok(())
}
