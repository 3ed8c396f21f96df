//! What goes wrong, as the client is told: the one place where causes become HTTP answers.
//!
//! Titles and details are Kuma's words, because its clients show them. The cause of an internal
//! error goes to the log, never to the client.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use model::{Key, Violation, Violations};
use serde::Serialize;
use store::{CommitError, GuardFailure, ReadError};

use crate::json;

/// An answer that is not a success, in Kuma's error body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// What the handler was about to do.
    pub title: String,
    /// Why it did not.
    pub detail: String,
    /// Faults of single parameters or fields.
    pub violations: Vec<Violation>,
}

/// Detail of a body or parameter with faults.
const NOT_VALID: &str = "Resource is not valid";

impl Problem {
    fn new(status: StatusCode, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status: status.as_u16(), title: title.into(), detail: detail.into(), violations: Vec::new() }
    }

    /// The resource is not there.
    pub fn not_found(title: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, title, "Not found")
    }

    /// A 404 with its own detail.
    pub fn not_found_because(title: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, title, detail)
    }

    /// The request cannot be understood; `detail` is shown as it is.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad Request", detail)
    }

    /// The request asks for something impossible.
    pub fn bad_request(why: impl std::fmt::Display) -> Self {
        Self::malformed(format!("bad request: {why}"))
    }

    /// The store refuses the parameters.
    pub fn refused(title: &str, why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, title, format!("invalid: {why}"))
    }

    /// A 400 with its own detail.
    pub fn invalid_because(title: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, title, detail)
    }

    /// Fields with faults.
    pub fn invalid(title: &str, violations: Violations) -> Self {
        Self { violations: violations.0, ..Self::new(StatusCode::BAD_REQUEST, title, NOT_VALID) }
    }

    /// One field with a fault.
    pub fn invalid_field(title: &str, field: impl Into<String>, reason: impl Into<String>) -> Self {
        let mut violations = Violations::new();
        violations.add(field, reason);
        Self::invalid(title, violations)
    }

    /// The `size` of a page.
    pub fn page_size(title: &str, reason: impl Into<String>) -> Self {
        Self { detail: "Invalid page size".to_owned(), ..Self::invalid_field(title, "size", reason) }
    }

    /// The mesh of a new resource does not exist.
    pub fn mesh_missing(title: &str, mesh: &str) -> Self {
        let reason = format!("mesh of name {mesh} is not found");
        Self { detail: "Mesh is not found".to_owned(), ..Self::invalid_field(title, "mesh", reason) }
    }

    /// No key signs tokens of this kind.
    pub fn signing_key_missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Signing Key not found", detail)
    }

    /// The kind cannot be written here; `detail` says where it can.
    pub fn read_only(detail: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail)
    }

    /// Somebody else wrote the same resource.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", detail)
    }

    /// The user may not do this.
    pub fn access_denied(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Access Denied", reason)
    }

    /// The credential is not valid.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid authentication data", "Unauthenticated")
    }

    /// A part that is needed does not answer.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable", detail)
    }

    /// This control plane is not built or configured for it.
    pub fn not_implemented(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "Not implemented", detail)
    }

    /// A fault of this control plane; the cause is logged here.
    pub fn internal(title: &str, cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, title, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, title, "Internal Server Error")
    }

    /// The group does not tell in time whether it stored a write. Not 503, which says that nothing was
    /// written.
    fn outcome_unknown(cause: &CommitError) -> Self {
        tracing::warn!(%cause, "a write was answered without its outcome");
        let detail = format!("{cause}: it may or may not have been stored, read before you write again");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Outcome unknown", detail)
    }

    /// What a failed commit means to the writer of the resource at `written`.
    pub fn from_commit(title: &str, written: &Key, error: &CommitError) -> Self {
        match error {
            CommitError::Guard(GuardFailure::Missing(mesh) | GuardFailure::NoTarget(mesh))
                if mesh.kind == model::registry::MESH && mesh != written =>
            {
                Self::mesh_missing(title, &mesh.name)
            }
            CommitError::Guard(GuardFailure::Exists(key)) => {
                Self::conflict(format!("resource already exists: {}", named(key)))
            }
            CommitError::Guard(
                GuardFailure::Version { key, .. } | GuardFailure::Missing(key) | GuardFailure::NoTarget(key),
            ) => Self::conflict(format!("resource conflict: {}", named(key))),
            CommitError::Guard(GuardFailure::Term { .. }) | CommitError::NoLeader { .. } => {
                Self::unavailable(error.to_string())
            }
            CommitError::Refused(_) => Self::refused(title, error),
            CommitError::Unknown | CommitError::Stopped(_) => Self::outcome_unknown(error),
        }
    }

    /// A conflict is told as a failed precondition to a writer that named the revision it had read.
    #[must_use]
    pub(crate) fn of_precondition(self, expected: Option<u64>) -> Self {
        if expected.is_none() || self.status != StatusCode::CONFLICT.as_u16() {
            return self;
        }
        Self { status: StatusCode::PRECONDITION_FAILED.as_u16(), title: "Precondition Failed".to_owned(), ..self }
    }

    /// What a failed consistent read means.
    pub fn from_read(error: &ReadError) -> Self {
        Self::unavailable(error.to_string())
    }
}

/// A key in Kuma's words.
fn named(key: &Key) -> String {
    format!("type=\"{}\" name=\"{}\" mesh=\"{}\"", key.kind, key.name, key.mesh)
}

#[derive(Serialize)]
struct Parameter<'a> {
    field: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Cause<'a> {
    field: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    r#type: &'static str,
    status: u16,
    title: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    invalid_parameters: Vec<Parameter<'a>>,
    /// Older clients read this mirror of `detail`.
    details: &'a str,
    /// Older clients read this mirror of `invalid_parameters`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause<'a>>,
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let violations = &problem.violations;
        let body = ErrorBody {
            r#type: "/std-errors",
            status: problem.status,
            title: &problem.title,
            detail: &problem.detail,
            invalid_parameters: violations.iter().map(|v| Parameter { field: &v.field, reason: &v.message }).collect(),
            details: &problem.detail,
            causes: violations.iter().map(|v| Cause { field: &v.field, message: &v.message }).collect(),
        };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json::response(&body);
        *response.status_mut() = status;
        response
    }
}

/// What the router itself refuses, in plain text: no handler was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such path.
    NotFound,
    /// The path knows these methods only.
    MethodNotAllowed(Vec<&'static str>),
    /// The client does not take JSON.
    NotAcceptable,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The body is larger than the cap.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let (status, text) = match &refusal {
            Refusal::NotFound => (StatusCode::NOT_FOUND, "404: Page Not Found"),
            Refusal::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed"),
            Refusal::NotAcceptable => {
                (StatusCode::NOT_ACCEPTABLE, "406: Not Acceptable\n\nAvailable representations: application/json")
            }
            Refusal::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "415: Unsupported Media Type"),
            Refusal::TooSlow => (StatusCode::REQUEST_TIMEOUT, "408: Request Timeout"),
            Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "413: Payload Too Large"),
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Refusal::MethodNotAllowed(methods) = refusal
            && let Ok(allow) = HeaderValue::from_str(&methods.join(", "))
        {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use model::registry;

    use super::*;

    #[test]
    fn a_lost_race_is_a_conflict_in_kumas_words() {
        let key = Key::global(registry::MESH, "x");
        let exists = CommitError::Guard(GuardFailure::Exists(key.clone()));
        let problem = Problem::from_commit("Failed to create a resource", &key, &exists);
        assert_eq!((problem.status, &*problem.title), (409, "Conflict"));
        assert_eq!(problem.detail, r#"resource already exists: type="Mesh" name="x" mesh="""#);
        let moved = CommitError::Guard(GuardFailure::Version { key: key.clone(), expected: 1, found: 2 });
        let problem = Problem::from_commit("Failed to update a resource", &key, &moved);
        assert_eq!(problem.detail, r#"resource conflict: type="Mesh" name="x" mesh="""#);
    }

    #[test]
    fn what_may_have_been_stored_is_told_from_what_was_not() {
        let key = Key::global(registry::MESH, "x");
        let told = |error| Problem::from_commit("Failed to update a resource", &key, &error).status;
        assert_eq!(told(CommitError::NoLeader { waited_ms: 2000 }), 503);
        assert_eq!(told(CommitError::Unknown), 504);
        assert_eq!(told(CommitError::Stopped("its disk failed".to_owned())), 504);
    }

    #[test]
    fn an_internal_cause_is_not_told_to_the_client() {
        let problem = Problem::internal("Failed to update a resource", "disk 7 is on fire");
        assert_eq!((problem.status, &*problem.detail), (500, "Internal Server Error"));
    }
}
