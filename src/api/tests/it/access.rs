//! Who may do what.

use api::Settings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::server::Server;

async fn with_user_key(server: &Server) {
    let key = identity::RsaPrivateKey::generate().unwrap().to_pem().unwrap();
    let secret = json!({
        "type": "GlobalSecret",
        "name": "user-token-signing-key-1",
        "data": STANDARD.encode(key),
    });
    let answer = server.local("PUT /global-secrets/user-token-signing-key-1", Some(secret)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

#[tokio::test]
async fn secrets_are_for_administrators() {
    let server = Server::new();
    server.mesh("default").await;
    for path in ["/global-secrets", "/meshes/default/secrets", "/secrets", "/meshes/default/secrets/x"] {
        let answer = server.remote(&format!("GET {path}"), None, &[]).await;
        assert_eq!((answer.status, answer.json()["title"].clone()), (403, json!("Access Denied")), "{path}");
        assert_ne!(server.local(&format!("GET {path}"), None).await.status, 403, "{path}");
    }
    let denied = server.remote("GET /globalsecrets", None, &[]).await.json();
    let user = "mesh-system:anonymous/mesh-system:unauthenticated";
    assert_eq!(denied["detail"], format!("user \"{user}\" cannot access the resource of type \"GlobalSecret\""));
}

#[tokio::test]
async fn a_user_token_is_issued_and_believed() {
    let server = Server::new();
    with_user_key(&server).await;
    let request = json!({ "name": "john", "groups": ["mesh-system:admin"], "validFor": "1h" });
    let denied = server.remote("POST /tokens/user", Some(request.clone()), &[]).await;
    assert_eq!((denied.status, denied.json()["detail"].clone()), (403, json!("action not allowed")));
    let token = server.local("POST /tokens/user", Some(request)).await;
    assert_eq!((token.status, &token.headers["content-type"]), (200, &"text/plain".parse().unwrap()));
    let bearer = format!("Bearer {}", token.text);
    let me = server.remote("GET /who-am-i", None, &[("authorization", &bearer)]).await.json();
    assert_eq!(me, json!({ "name": "john", "groups": ["mesh-system:admin", "mesh-system:authenticated"] }));
    let secrets = server.remote("GET /global-secrets", None, &[("authorization", &bearer)]).await;
    assert_eq!(secrets.status, 200);
}

#[tokio::test]
async fn a_bad_token_is_refused_everywhere_but_at_the_index() {
    let server = Server::new();
    let bad = [("authorization", "Bearer x.y.z")];
    for (path, status) in [("/meshes", 401), ("/nothing", 401), ("/", 200), ("/gui/", 200)] {
        assert_eq!(server.remote(&format!("GET {path}"), None, &bad).await.status, status, "{path}");
    }
    let basic = server.remote("GET /who-am-i", None, &[("authorization", "Basic eDp5")]).await.json();
    assert_eq!(basic["name"], "mesh-system:anonymous");
}

#[tokio::test]
async fn a_page_of_another_site_is_not_the_administrator() {
    let server = Server::new();
    let who = |headers: Vec<(&'static str, &'static str)>| {
        let server = &server;
        async move { server.send([127, 0, 0, 1], "GET /who-am-i", None, &headers).await.json()["name"].clone() }
    };
    assert_eq!(who(vec![]).await, "mesh-system:admin");
    for forged in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("host", "evil.example")] {
        assert_eq!(who(vec![forged]).await, "mesh-system:anonymous", "{forged:?}");
    }
    let off = Server::with(Settings { localhost_is_admin: false, ..Settings::default() });
    assert_eq!(off.local("GET /who-am-i", None).await.json()["name"], "mesh-system:anonymous");
}

#[tokio::test]
async fn tokens_need_valid_requests_and_a_key() {
    let server = Server::new();
    let answer = server.local("POST /tokens/user", Some(json!({ "validFor": "x" }))).await;
    let expected = [
        ("name", "cannot be empty"),
        ("validFor", "is invalid: time: invalid duration \"x\""),
        ("validFor", "cannot be empty or nil"),
    ]
    .map(|(field, reason)| (field.to_owned(), reason.to_owned()));
    assert_eq!(answer.faults(), expected);
    let answer = server.local("POST /tokens/dataplane", Some(json!({ "mesh": "none", "name": "dp" }))).await;
    assert_eq!((answer.status, answer.json()["title"].clone()), (404, json!("Signing Key not found")));
    let answer = server.local("POST /tokens/dataplane", Some(json!({ "type": "ingress" }))).await;
    assert_eq!(answer.faults().len(), 2);
    let off = Server::with(Settings { issue_zone_tokens: false, ..Settings::default() });
    let answer = off.local("POST /tokens/zone", Some(json!({ "zone": "z" }))).await;
    assert_eq!(answer.json()["detail"], "issuing tokens using the control plane is disabled.");
}

#[tokio::test]
async fn foreign_pages_read_answers_only_when_allowed() {
    let server =
        Server::with(Settings { cors_allowed_domains: vec!["https://gui.example".to_owned()], ..Settings::default() });
    let answer = server.remote("GET /meshes", None, &[("origin", "https://gui.example")]).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "https://gui.example");
    let answer = server.remote("GET /meshes", None, &[("origin", "https://evil.example")]).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let preflight = [("origin", "https://gui.example"), ("access-control-request-method", "PUT")];
    let answer = server.remote("OPTIONS /meshes/default", None, &preflight).await;
    assert_eq!((answer.status, &*answer.text), (200, ""));
    assert_eq!(answer.headers["access-control-allow-methods"], "GET, PUT, DELETE");
}
