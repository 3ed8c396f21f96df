//! A configuration that Envoy refuses: who wrote it is told, traffic goes on, and it can be repaired.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::kumactl::Kumactl;
use crate::world::{SOON, World, allow};

/// A patch that adds a cluster with one endpoint at `address`.
fn patch(address: &str) -> Value {
    let value = json!({
        "name": "added",
        "type": "STATIC",
        "connectTimeout": "1s",
        "loadAssignment": {"clusterName": "added", "endpoints": [{"lbEndpoints": [{"endpoint": {"address": {
            "socketAddress": {"address": address, "portValue": 80},
        }}}]}]},
    });
    json!({
        "type": "MeshProxyPatch",
        "mesh": "default",
        "name": "patch",
        "spec": {"default": {"appendModifications": [{"cluster": {"operation": "Add", "value": value.to_string()}}]}},
    })
}

/// Whether some subscription counts clusters that were refused.
fn counts_a_refusal(overview: &Value) -> bool {
    let subscriptions = overview.pointer("/dataplaneInsight/subscriptions").and_then(Value::as_array);
    let is_refused = |subscription: &Value| match subscription.pointer("/status/cds/responsesRejected") {
        Some(Value::String(count)) => count != "0",
        Some(Value::Number(count)) => count.as_u64() != Some(0),
        _ => false,
    };
    subscriptions.is_some_and(|all| all.iter().any(is_refused))
}

#[tokio::test]
async fn what_envoy_refuses_is_told_disturbs_no_request_and_can_be_repaired() -> Result<()> {
    let world = World::permitted("24h").await?;
    let control_plane = &world.control_plane;
    // Only Envoy knows that the endpoint of a static cluster must be an address.
    control_plane.apply(&patch("no-address")).await?;
    let refused_by = |propagation: &Value, name: &str| {
        let rejected = propagation.pointer("/rejected").and_then(Value::as_array);
        rejected.is_some_and(|all| {
            all.iter().any(|proxy| proxy["name"] == name && proxy["message"].to_string().contains("no-address"))
        })
    };
    let both = |propagation: &Value| ["client-1", "backend-1"].iter().all(|name| refused_by(propagation, name));
    let propagation = control_plane.until("/propagation", SOON, both).await?;
    assert_eq!(propagation["complete"], false, "{propagation}");
    for _ in 0..20 {
        assert_eq!(world.client.call("/").await?.0, 200);
    }
    for name in ["client-1", "backend-1"] {
        let faults = control_plane.get(&format!("/meshes/default/dataplanes/{name}/_faults")).await?;
        assert_eq!(faults["items"][0]["envoyResource"], "added", "{faults}");
        let by_patch = |faults: &Value| {
            faults.pointer("/items/0/origins").is_some_and(|origins| {
                origins == &json!([{"type": "MeshProxyPatch", "mesh": "default", "name": "patch"}])
            })
        };
        control_plane.until(&format!("/meshes/default/dataplanes/{name}/_faults"), SOON, by_patch).await?;
        let overview = format!("/meshes/default/dataplanes/{name}/_overview");
        control_plane.until(&overview, Duration::from_secs(90), counts_a_refusal).await?;
    }

    let of_patch = "/meshes/default/meshproxypatches/patch/_faults";
    assert_eq!(control_plane.get(of_patch).await?["total"], 2);
    assert_eq!(control_plane.metric("xds_refused_resources", "cause=\"MeshProxyPatch\"").await?, 2.0);
    let kumactl = Kumactl::of(&world.sandbox, control_plane).await?;
    let shown = kumactl.ok(&["inspect", "dataplane", "client-1", "--type", "faults"], "").await?;
    assert!(shown.contains("MeshProxyPatch patch") && shown.contains("no-address"), "{shown}");
    let shown = kumactl.ok(&["inspect", "meshproxypatch", "patch", "--type", "faults"], "").await?;
    assert!(shown.contains("client-1") && shown.contains("backend-1"), "{shown}");
    let (code, _, told) = kumactl.run(&["wait", "-f", "-"], &patch("no-address").to_string()).await?;
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("refused by") && told.contains("(from MeshProxyPatch patch)"), "{told}");

    control_plane.apply(&patch("127.0.0.1")).await?;
    let healed = |propagation: &Value| {
        propagation["complete"] == true && propagation["rejected"].as_array().is_some_and(Vec::is_empty)
    };
    control_plane.until("/propagation", SOON, healed).await?;
    assert_eq!(control_plane.get(of_patch).await?["total"], 0);
    assert_eq!(control_plane.metric("xds_refused_resources", "cause=\"MeshProxyPatch\"").await?, 0.0);
    let told = kumactl.ok(&["wait", "-f", "-"], &patch("127.0.0.1").to_string()).await?;
    assert!(told.ends_with("has reached all 2 proxies that it concerns\n"), "{told}");
    assert!(world.client.admin("/clusters").await?.contains("added::127.0.0.1:80"));
    assert_eq!(world.client.call("/").await?.0, 200);

    // What comes after is obeyed.
    control_plane.apply(&allow("Exact", "spiffe://default.default.mesh.local/workload/other")).await?;
    world.client.call_until(SOON, |status, _| status == 403).await?;
    control_plane.delete("/meshes/default/meshproxypatches/patch").await?;
    control_plane.until("/propagation", SOON, healed).await?;
    assert!(!world.client.admin("/clusters").await?.contains("added::"));
    assert_eq!(control_plane.metric("xds_verify_differences_total", "").await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_cannot_be_applied_is_told_of_and_the_rest_stays_in_force() -> Result<()> {
    let world = World::permitted("24h").await?;
    let control_plane = &world.control_plane;
    let mut unusable = patch("127.0.0.1");
    unusable["spec"]["default"]["appendModifications"][0]["cluster"]["value"] = json!("{\"noSuchField\": 1}");
    control_plane.apply(&unusable).await?;
    let told_of_both = |faults: &Value| faults["total"] == 2;
    let path = "/meshes/default/meshproxypatches/patch/_faults";
    let faults = control_plane.until(path, SOON, told_of_both).await?;
    assert!(faults["items"][0]["message"].to_string().contains("noSuchField"), "{faults}");
    assert_eq!(faults["items"][0]["origins"][0]["name"], "patch");
    assert_eq!(world.client.call("/").await?.0, 200);
    control_plane.delete("/meshes/default/meshproxypatches/patch").await?;
    control_plane.until("/faults", SOON, |faults| faults["total"] == 0).await?;
    Ok(())
}
