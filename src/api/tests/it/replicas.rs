//! The group of replicas over HTTP, with a group that only writes down what it is asked.

use std::io::{Seek, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::Settings;
use api::group::{
    Group, GroupChange, GroupError, GroupStatus, OtherTold, ReplicaStatus, ReplicaVitals, Restored, VitalsAnswer,
};
use api::propagation::Asked;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::json;

use crate::server::Server;

#[derive(Default)]
struct Noted(Mutex<Vec<GroupChange>>);

impl Group for Noted {
    fn status(&self) -> GroupStatus {
        let replica = ReplicaStatus { id: 7, role: "leader", ..ReplicaStatus::default() };
        GroupStatus { id: 7, role: "leader", leader: Some(7), replicas: vec![replica], ..GroupStatus::default() }
    }

    fn join_token(&self) -> Option<String> {
        Some("secret".to_owned())
    }

    fn change(&self, change: GroupChange) -> BoxFuture<'static, Result<(), GroupError>> {
        self.0.lock().unwrap().push(change);
        let refused = matches!(change, GroupChange::Remove(7));
        Box::pin(async move { if refused { Err(GroupError::Refused("replica 7 leads".to_owned())) } else { Ok(()) } })
    }

    fn vitals(&self) -> BoxFuture<'static, Vec<ReplicaVitals>> {
        let answer = VitalsAnswer { proxies: Some(3), ..VitalsAnswer::default() };
        let here = ReplicaVitals { id: 7, role: "leader", answer: Some(answer), ..ReplicaVitals::default() };
        let why = Some("no route".to_owned());
        let away = ReplicaVitals { id: 8, role: "voter", unreachable: why, ..ReplicaVitals::default() };
        Box::pin(async { vec![here, away] })
    }

    fn ask(&self, _: Asked, _: Duration) -> Vec<BoxFuture<'static, OtherTold>> {
        Vec::new()
    }

    fn restore(&self, backup: Bytes, author: String) -> BoxFuture<'static, Result<Restored, GroupError>> {
        assert_eq!(author, "mesh-system:admin");
        Box::pin(async move {
            match backup.len() {
                0 => Err(GroupError::Refused("snapshot is cut off".to_owned())),
                created => Ok(Restored { revision: 9, created, ..Restored::default() }),
            }
        })
    }

    fn backup(&self) -> BoxFuture<'static, Result<tokio::fs::File, GroupError>> {
        Box::pin(async {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[7; 200_000]).unwrap();
            file.rewind().unwrap();
            Ok(tokio::fs::File::from_std(file))
        })
    }
}

#[tokio::test]
async fn the_group_is_seen_and_changed_by_administrators() {
    let group = Arc::new(Noted::default());
    let server = Server::of_group(Arc::clone(&group) as Arc<dyn Group>);
    let status = server.local("GET /raft", None).await.json();
    assert_eq!(status["replicas"][0], json!({"id": 7, "address": "", "role": "leader"}));
    assert_eq!(server.local("GET /raft/join-token", None).await.json(), json!({"token": "secret"}));
    for path in ["promote", "handover"] {
        let answer = server.local(&format!("POST /raft/{path}"), Some(json!({"id": 8}))).await;
        assert_eq!((answer.status, &answer.json()["id"]), (200, &json!(7)), "{path}");
    }
    assert_eq!(server.local("POST /raft/rotate-key", Some(json!({}))).await.status, 200);
    assert_eq!(server.local("POST /raft/rotate-join-token", Some(json!({}))).await.status, 200);
    assert_eq!(server.local("POST /raft/rotate-authority", Some(json!({}))).await.status, 200);
    let vitals = server.local("GET /raft/vitals", None).await.json();
    assert_eq!((&vitals["items"][0]["proxies"], &vitals["items"][1]["unreachable"]), (&json!(3), &json!("no route")));
    let refused = server.local("POST /raft/remove", Some(json!({"id": 7}))).await;
    assert_eq!((refused.status, &refused.json()["detail"]), (400, &json!("replica 7 leads")));
    let asked = [
        GroupChange::Promote(8),
        GroupChange::HandOver(8),
        GroupChange::RotateKey,
        GroupChange::RotateJoinToken,
        GroupChange::RotateAuthority,
        GroupChange::Remove(7),
    ];
    assert_eq!(*group.0.lock().unwrap(), asked);
    assert_eq!(server.local("POST /raft/promote", Some(json!({"id": "x"}))).await.status, 400);
}

#[tokio::test]
async fn a_backup_is_the_whole_file() {
    let server = Server::of_group(Arc::new(Noted::default()));
    let answer = server.local("GET /raft/backup", None).await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/octet-stream".parse().unwrap()));
    assert_eq!(answer.text.len(), 200_000);
    assert!(answer.text.bytes().all(|byte| byte == 7));
}

#[tokio::test]
async fn a_backup_is_restored_from_bytes_of_an_administrator() {
    let server = Server::of_group(Arc::new(Noted::default()));
    let post = async |peer: [u8; 4], content_type: &str, body: &[u8]| {
        let request = http::Request::post("/raft/restore").header("host", "localhost:5681");
        let mut request = request.header("content-type", content_type).body(body.to_vec().into()).unwrap();
        request.extensions_mut().insert(api::Connection { peer: (peer, 40000).into(), tls: false });
        server.raw(request).await
    };
    let bytes = "application/octet-stream";
    let restored = post([127, 0, 0, 1], bytes, &[1; 20]).await;
    let body = json!({"revision": 9, "created": 20, "updated": 0, "deleted": 0});
    assert_eq!((restored.status, restored.json()), (200, body));
    let refused = post([127, 0, 0, 1], bytes, &[]).await;
    assert_eq!((refused.status, &refused.json()["detail"]), (400, &json!("snapshot is cut off")));
    assert_eq!(post([127, 0, 0, 1], "application/json", b"{}").await.status, 415);
    assert_eq!(post([10, 1, 2, 3], bytes, &[1; 20]).await.status, 403);
}

#[tokio::test]
async fn others_and_other_stores_get_a_clear_no() {
    let server = Server::of_group(Arc::new(Noted::default()));
    for request in ["GET /raft", "GET /raft/join-token", "GET /raft/backup"] {
        let denied = server.remote(request, None, &[]).await;
        assert_eq!((denied.status, &denied.json()["title"]), (403, &json!("Access Denied")), "{request}");
    }
    for order in ["remove", "rotate-key", "rotate-join-token", "rotate-authority"] {
        let denied = server.remote(&format!("POST /raft/{order}"), Some(json!({"id": 1})), &[]).await;
        assert_eq!(denied.status, 403, "{order}");
    }
    let memory = Server::with(Settings { store_type: "memory".to_owned(), ..Settings::default() });
    let answer = memory.local("GET /raft", None).await;
    assert_eq!(
        (answer.status, &answer.json()["detail"]),
        (501, &json!("a store of type memory has no replicas (store.type)"))
    );
}
