//! The group of replicas: `/raft` and what is below it. Administrators only.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, header};
use identity::{Action, User};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::call::Call;
use crate::errors::Problem;
use crate::group::{Group, GroupChange, GroupError, ReplicaVitals};
use crate::json;
use crate::routes::{Answer, Routes};
use crate::settings::ApiState;

/// How much of a backup is read at once, in bytes.
const CHUNK_LEN: usize = 64 << 10;

/// Largest backup that is restored while the control plane runs, in bytes.
const BACKUP_BYTES_MAX: usize = 512 << 20;

/// The path that takes a backup, the only one whose body is no JSON.
pub(crate) const RESTORE: &str = "/raft/restore";

/// Adds the paths of the group.
pub(crate) fn add(routes: &mut Routes) {
    routes.get("/raft", status);
    routes.get("/raft/join-token", join_token);
    routes.get("/raft/backup", backup);
    routes.get("/raft/vitals", vitals);
    routes.on(Method::POST, RESTORE, restore);
    routes.on(Method::POST, "/raft/promote", |call| change_one(call, GroupChange::Promote));
    routes.on(Method::POST, "/raft/remove", |call| change_one(call, GroupChange::Remove));
    routes.on(Method::POST, "/raft/handover", |call| change_one(call, GroupChange::HandOver));
    routes.on(Method::POST, "/raft/rotate-key", |call| change(call, GroupChange::RotateKey));
    routes.on(Method::POST, "/raft/rotate-join-token", |call| change(call, GroupChange::RotateJoinToken));
    routes.on(Method::POST, "/raft/rotate-authority", |call| change(call, GroupChange::RotateAuthority));
}

/// The group, for those who may.
fn group(call: &Call) -> Result<Arc<dyn Group>, Problem> {
    call.may(Action::ManageReplicas)?;
    let none = || {
        let store = &call.settings().store_type;
        Problem::not_implemented(format!("a store of type {store} has no replicas (store.type)"))
    };
    call.api.group.clone().ok_or_else(none)
}

async fn status(call: Call) -> Answer {
    Ok(json::response(&group(&call)?.status()))
}

async fn join_token(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Body {
        token: String,
    }
    let none = || Problem::not_implemented("this replica has no listener for others (store.raft.listen)");
    let token = group(&call)?.join_token().ok_or_else(none)?;
    Ok(json::response(&Body { token }))
}

/// A change that names a replica: the body is `{"id": 1}`.
async fn change_one(call: Call, change: fn(u64) -> GroupChange) -> Answer {
    #[derive(Deserialize)]
    struct Named {
        id: u64,
    }
    let group = group(&call)?;
    let named: Named =
        serde_json::from_slice(&call.body).map_err(|e| Problem::bad_request(format_args!("id of a replica: {e}")))?;
    make(&*group, change(named.id)).await
}

async fn change(call: Call, change: GroupChange) -> Answer {
    make(&*group(&call)?, change).await
}

/// `GET /raft/vitals`: how every replica does.
async fn vitals(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Body {
        items: Vec<ReplicaVitals>,
    }
    Ok(json::response(&Body { items: group(&call)?.vitals().await }))
}

/// How large the body of a request may be, in bytes. Only a backup of an administrator may be
/// larger than the rest.
///
/// # Errors
/// When the user may not restore.
pub(crate) fn body_bytes_max(api: &ApiState, user: &User, template: &str, usual: usize) -> Result<usize, Problem> {
    if template != RESTORE {
        return Ok(usual);
    }
    let allowed = api.settings.access.check(user, Action::ManageReplicas);
    allowed.map_err(|denied| Problem::access_denied(denied.reason))?;
    Ok(BACKUP_BYTES_MAX)
}

/// `POST /raft/restore`: the body is a backup.
async fn restore(call: Call) -> Answer {
    let restored = group(&call)?.restore(call.body.clone(), call.user.name.clone()).await;
    Ok(json::response(&restored.map_err(|error| explain("Could not restore the backup", error))?))
}

/// Makes a change, and answers with the group as it is then.
async fn make(group: &dyn Group, change: GroupChange) -> Answer {
    group.change(change).await.map_err(|error| explain("Could not change the group", error))?;
    Ok(json::response(&group.status()))
}

fn explain(title: &str, error: GroupError) -> Problem {
    match error {
        GroupError::Refused(why) => Problem::invalid_because(title, why),
        GroupError::Unavailable(why) => Problem::unavailable(why),
        GroupError::Failed(why) => Problem::internal(title, why),
    }
}

/// `GET /raft/backup`: the file, streamed.
async fn backup(call: Call) -> Answer {
    const TITLE: &str = "Could not take a backup";
    let file = group(&call)?.backup().await.map_err(|error| explain(TITLE, error))?;
    let len = file.metadata().await.map_err(|error| Problem::internal(TITLE, error))?.len();
    let mut response = Response::new(Body::from_stream(futures::stream::try_unfold(file, next_chunk)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    Ok(response)
}

async fn next_chunk(mut file: File) -> std::io::Result<Option<(Bytes, File)>> {
    let mut chunk = BytesMut::with_capacity(CHUNK_LEN);
    let read = file.read_buf(&mut chunk).await?;
    Ok((read > 0).then(|| (chunk.freeze(), file)))
}
