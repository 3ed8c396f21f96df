//! The StatefulSet of `deploy/kubernetes` in processes: its variables, names for pods, an address of its
//! own for each, which is another one after a restart.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use sandbox::{ControlPlane, ControlPlaneSettings, Sandbox, voters};
use serde_json::Value;

use crate::replicas::mesh;
use crate::world::SOON;

const MANIFEST: &str = include_str!("../../../../deploy/kubernetes/kuma-cp.yaml");

/// Variables that are taken from the manifest; the work directory and the certificate are the sandbox's.
const VARIABLES: [&str; 3] = ["KUMA_STORE_RAFT_LISTEN", "KUMA_STORE_RAFT_PEERS", "KUMA_STORE_RAFT_SECRET_FILE"];

/// Gives a process a host name and a table of hosts of its own, as a pod has.
const IN_A_POD: &str = r#"hostname "$POD_NAME" && mount --bind "$HOSTS" /etc/hosts && exec "$0" "$@""#;

struct Pods {
    sandbox: Sandbox,
    hosts: PathBuf,
    container: Value,
    /// The last part of each pod's address.
    addresses: [u8; 3],
}

impl Pods {
    async fn new() -> Result<Self> {
        let sandbox = Sandbox::new().await?;
        std::fs::write(sandbox.dir().join("secret"), "correct horse battery staple")?;
        let documents = model::yaml::read_all(MANIFEST)?;
        let set = documents.iter().find(|document| document["kind"] == "StatefulSet").context("a StatefulSet")?;
        let container = set["spec"]["template"]["spec"]["containers"][0].clone();
        let hosts = sandbox.dir().join("hosts");
        let pods = Self { sandbox, hosts, container, addresses: [11, 12, 13] };
        pods.publish()?;
        Ok(pods)
    }

    /// What the headless service tells: written in place, because the file is mounted.
    fn publish(&self) -> Result<()> {
        let lines = self.addresses.iter().enumerate().map(|(n, last)| format!("127.0.1.{last} kuma-cp-{n}.kuma-cp\n"));
        Ok(std::fs::write(&self.hosts, format!("127.0.0.1 localhost\n{}", lines.collect::<String>()))?)
    }

    /// Starts a pod with the disk that it had, if it had one.
    fn launch(&self, n: usize) -> Result<ControlPlane> {
        let (ip, secret) = (format!("127.0.1.{}", self.addresses[n]), self.sandbox.dir().join("secret"));
        let listed = self.container["env"].as_array().context("the container has variables")?;
        let mut variables = vec![("POD_NAME", format!("kuma-cp-{n}")), ("HOSTS", self.hosts.display().to_string())];
        for name in VARIABLES {
            let entry = listed.iter().find(|entry| entry["name"] == name).with_context(|| format!("no {name}"))?;
            let value = entry["value"].as_str().context("a value")?;
            let value =
                value.replace("$(POD_IP)", &ip).replace("/etc/kuma/group/secret", &secret.display().to_string());
            variables.push((name, value));
        }
        let by = ["unshare", "--map-root-user", "--uts", "--mount", "sh", "-c", IN_A_POD];
        ControlPlane::launch(&self.sandbox, &format!("pod-{n}"), ControlPlaneSettings { variables }, &by)
    }
}

/// Whether processes can be given names here.
fn is_possible() -> bool {
    let tried = std::process::Command::new("unshare").args(["--map-root-user", "--uts", "--mount", "true"]).status();
    tried.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn the_stateful_set_founds_a_group_and_a_pod_comes_back_with_another_address() -> Result<()> {
    if !is_possible() {
        println!("skipped: no namespaces for this user");
        return Ok(());
    }
    let mut pods = Pods::new().await?;
    let mut running = (0..3).map(|n| pods.launch(n)).collect::<Result<Vec<_>>>()?;
    for pod in &mut running {
        pod.ready(SOON).await?;
    }
    let three_vote = |status: &Value| voters(status) == 3 && status["leader"].is_u64();
    for pod in &running {
        pod.until("/raft", SOON, three_vote).await?;
    }
    running[1].apply(&mesh("first")).await?;

    let id = running[2].get("/raft").await?["id"].clone();
    running[2].process().kill().await?;
    pods.addresses[2] = 23;
    pods.publish()?;
    running[2] = pods.launch(2)?;
    running[2].ready(SOON).await?;
    running[0].apply(&mesh("second")).await?;
    let back = running[2].until("/meshes/second", SOON, |_| true).await;
    back.with_context(|| running[2].process().log_tail())?;
    let status = running[2].until("/raft", SOON, three_vote).await?;
    ensure!(status["id"] == id, "the disk is the same, so is the replica: {status}");
    let all_answer = |vitals: &Value| {
        let items = vitals["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.len() == 3 && items.iter().all(|item| item["unreachable"].is_null())
    };
    running[0].until("/raft/vitals", SOON, all_answer).await?;
    Ok(())
}
