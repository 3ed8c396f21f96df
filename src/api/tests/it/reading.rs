//! Lists, pages, filters, overviews and what the API tells of itself.

use serde_json::{Value, json};

use crate::server::{Server, dataplane};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_are_walked_by_their_links() {
    let server = Server::new();
    server.mesh("a").await;
    server.mesh("b").await;
    for (mesh, name) in [("a", "x"), ("a", "y"), ("b", "x")] {
        server.dataplane(mesh, name).await;
    }
    let mut url = "/dataplanes?size=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = server.local(&format!("GET {url}"), None).await.json();
        assert_eq!(page["total"], 3);
        seen.extend(page["items"].as_array().unwrap().iter().map(|i| format!("{}/{}", i["mesh"], i["name"])));
        let Some(next) = page["next"].as_str() else { break };
        url = next.strip_prefix("http://localhost:5681").unwrap().to_owned();
    }
    assert_eq!(seen, ["\"a\"/\"x\"", "\"a\"/\"y\"", "\"b\"/\"x\""]);
    let beyond = server.local("GET /dataplanes?offset=10", None).await.json();
    assert_eq!((beyond["items"].clone(), beyond["next"].clone()), (json!([]), Value::Null));
}

#[tokio::test]
async fn lists_are_filtered() {
    let server = Server::new();
    server.mesh("default").await;
    let mut labelled = dataplane("default", "web-1");
    labelled["labels"] = json!({ "app": "web" });
    server.local("PUT /meshes/default/dataplanes/web-1", Some(labelled)).await;
    let mut gateway = dataplane("default", "gw");
    gateway["networking"] = json!({ "address": "10.0.0.2", "gateway": { "tags": { "kuma.io/service": "edge" } } });
    let answer = server.local("PUT /meshes/default/dataplanes/gw", Some(gateway)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    for (query, expected) in [
        ("name=web", vec!["web-1"]),
        ("filter[labels.app]=web", vec!["web-1"]),
        ("filter[labels.app]=", vec![]),
        ("gateway=true", vec!["gw"]),
        ("gateway=DELEGATED", vec!["gw"]),
        ("gateway=false", vec!["web-1"]),
        ("tag=app:we", vec!["web-1"]),
        ("tag=kuma.io/service:*", vec!["gw"]),
        ("tag=nothing", vec!["gw", "web-1"]),
    ] {
        let list = server.local(&format!("GET /meshes/default/dataplanes?{query}"), None).await.json();
        assert_eq!(names(&list), expected, "{query}");
        let overviews = server.local(&format!("GET /meshes/default/dataplanes/_overview?{query}"), None).await.json();
        assert_eq!(names(&overviews), expected, "{query}");
    }
    for (query, reason) in [
        ("gateway=maybe", "should use `true`, `false` or `delegated` instead of maybe"),
        ("filter[labels.a][eq]=b", "advanced filters are not supported"),
        ("filter[labels.a", "filters are only supported on labels"),
    ] {
        let answer = server.local(&format!("GET /meshes/default/dataplanes?{query}"), None).await;
        assert_eq!((answer.status, answer.faults()[0].1.as_str()), (400, reason), "{query}");
        assert!(answer.faults()[0].0.starts_with("/meshes/{mesh}/dataplanes."), "{query}");
    }
}

#[tokio::test]
async fn formats_are_universal_or_kubernetes() {
    let server = Server::new();
    server.mesh("default").await;
    let object = server.local("GET /meshes/default?format=k8s", None).await.json();
    assert_eq!((object["kind"].clone(), object["metadata"]["name"].clone()), (json!("Mesh"), json!("default")));
    let answer = server.local("GET /meshes/default?format=xml", None).await;
    let reason = r#""format" must be one of ["k8s", "kubernetes", "universal"]"#;
    assert_eq!(answer.faults(), [(String::new(), reason.to_owned())]);
}

#[tokio::test]
async fn overviews_join_what_is_known_of_the_proxy() {
    let server = Server::new();
    server.mesh("default").await;
    server.dataplane("default", "dp").await;
    for path in ["/meshes/default/dataplanes/dp/_overview", "/meshes/default/dataplanes+insights/dp"] {
        let overview = server.local(&format!("GET {path}"), None).await.json();
        assert_eq!(overview["type"], "DataplaneOverview", "{path}");
        assert_eq!(overview["dataplane"]["networking"]["address"], "10.0.0.1", "{path}");
        assert!(overview.get("dataplaneInsight").is_none(), "{path}");
    }
    let insight = server.local("GET /mesh-insights/default", None).await.json();
    assert_eq!(insight["dataplanes"], json!({ "total": 1, "offline": 1 }));
    let global = server.local("GET /global-insight", None).await.json();
    assert_eq!(
        global["dataplanes"]["standard"],
        json!({ "total": 1, "online": 0, "offline": 1, "partiallyDegraded": 0 })
    );
}

#[tokio::test]
async fn the_api_tells_what_it_serves() {
    let server = Server::new();
    let index = server.local("GET /", None).await.json();
    assert_eq!((index["product"].clone(), index["gui"].clone()), (json!("Kuma"), json!("/gui")));
    let resources = server.local("GET /_resources", None).await.json();
    let of =
        |name: &str| resources["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone();
    assert_eq!(of("MeshTimeout")["policy"]["hasToTargetRef"], true);
    assert_eq!(of("Dataplane")["includeInFederation"], false);
    assert_eq!(of("Secret")["includeInFederation"], true);
    assert_eq!(of("GlobalSecret")["scope"], "Global");
    let policies = server.local("GET /policies", None).await.json();
    assert_eq!(policies["policies"].as_array().unwrap().len(), 16);
}

#[tokio::test]
async fn legacy_service_insights_are_an_empty_list() {
    let server = Server::new();
    server.mesh("default").await;
    let list = server.local("GET /meshes/default/service-insights?type=internal", None).await.json();
    assert_eq!(list, json!({ "total": 0, "items": [], "next": null }));
    assert_eq!(server.local("GET /service-insights?type=odd", None).await.status, 400);
    assert_eq!(server.local("GET /meshes/default/service-insights/web", None).await.status, 404);
}

#[tokio::test]
async fn propagation_is_unknown_without_proxies_and_for_the_future() {
    let server = Server::new();
    assert_eq!(server.local("GET /propagation?revision=9", None).await.status, 404);
    assert_eq!(server.local("GET /propagation?revision=x", None).await.status, 400);
    assert_eq!(server.local("GET /propagation", None).await.status, 503);
}

#[tokio::test]
async fn unknown_admin_requests_are_not_found() {
    let server = Server::new();
    server.mesh("default").await;
    let answer = server.local("GET /meshes/default/dataplanes/dp/odd", None).await;
    assert_eq!((answer.status, answer.json()["title"].clone()), (404, json!("Could not execute admin operation")));
    let answer = server.local("GET /meshes/default/dataplanes/dp/stats", None).await;
    assert_eq!(answer.json()["title"], "Could not get dataplane resource");
}
