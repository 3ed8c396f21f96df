//! What is refused before any handler is reached.

use axum::body::Body;
use http::Request;
use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_plain_text() {
    let server = Server::new();
    for (request, status, text, allow) in [
        ("GET /nothing", 404, "404: Page Not Found", None),
        ("GET /meshes/default/zoneingresses", 404, "404: Page Not Found", None),
        ("POST /meshes/default", 405, "405: Method Not Allowed", Some("GET, PUT, DELETE")),
        // An answer to HEAD has no body.
        ("HEAD /meshes", 405, "", Some("GET")),
        ("PUT /dataplanes", 405, "405: Method Not Allowed", Some("GET")),
    ] {
        let answer = server.local(request, None).await;
        assert_eq!((answer.status, &*answer.text), (status, text), "{request}");
        assert_eq!(answer.headers.get("allow").map(|v| v.to_str().unwrap()), allow, "{request}");
        assert_eq!(answer.headers["content-type"], "text/plain");
    }
}

#[tokio::test]
async fn only_json_is_taken_and_given() {
    let server = Server::new();
    let put = |content_type: Option<&str>| {
        let mut request = Request::put("/meshes/m").header("host", "localhost");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        request.body(Body::from(r#"{"type":"Mesh","name":"m"}"#)).unwrap()
    };
    for (content_type, status) in
        [(None, 415), (Some("application/yaml"), 415), (Some("application/json; charset=utf-8"), 201)]
    {
        assert_eq!(server.raw(put(content_type)).await.status, status, "{content_type:?}");
    }
    for (accept, status) in [("text/html", 406), ("text/html, */*;q=0.8", 200), ("application/json", 200)] {
        let answer = server.remote("GET /meshes", None, &[("accept", accept)]).await;
        assert_eq!(answer.status, status, "{accept}");
    }
    let answer = server.remote("GET /meshes", None, &[("accept", "text/html")]).await;
    assert_eq!(answer.text, "406: Not Acceptable\n\nAvailable representations: application/json");
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let server = Server::new();
    let huge = json!({ "type": "Mesh", "name": "m", "x": "a".repeat(17 << 20) });
    assert_eq!(server.local("PUT /meshes/m", Some(huge)).await.status, 413);
}

#[tokio::test]
async fn the_base_path_stands_before_everything_but_user_tokens() {
    let server = Server::with(api::Settings { base_path: "kuma/".to_owned(), ..api::Settings::default() });
    assert_eq!(server.local("GET /kuma/meshes", None).await.status, 200);
    assert_eq!(server.local("GET /kuma", None).await.status, 200);
    assert_eq!(server.local("GET /meshes", None).await.status, 404);
    assert_eq!(server.local("GET /kumameshes", None).await.status, 404);
    assert_ne!(server.local("POST /tokens/user", Some(json!({}))).await.status, 404);
}

#[tokio::test]
async fn answers_are_indented_by_one_space_and_end_with_a_newline() {
    let answer = Server::new().local("GET /meshes", None).await;
    assert_eq!(answer.text, "{\n \"total\": 0,\n \"items\": [],\n \"next\": null\n}\n");
    assert_eq!(answer.headers["content-type"], "application/json");
}
