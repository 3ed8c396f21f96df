//! The little of gRPC that a pipe needs: frames, and answers that carry a status.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Bytes of the head of a frame: compression, length.
const HEAD_LEN: usize = 5;

/// Codes of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument = 3,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Unavailable = 14,
}

/// Why a call fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn unavailable(why: impl std::fmt::Display) -> Self {
        Self::new(Code::Unavailable, why.to_string())
    }
}

pub(super) type Body = BoxBody<Bytes, std::convert::Infallible>;

/// A message as a frame.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(HEAD_LEN + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The message in the only frame of a body.
pub(crate) fn unframe(body: &Bytes) -> Result<Bytes, Failure> {
    let malformed = || Failure::new(Code::InvalidArgument, "expected one frame with one message");
    let head = body.get(..HEAD_LEN).ok_or_else(malformed)?;
    if head[0] != 0 {
        return Err(Failure::new(Code::Unimplemented, "compressed messages are not taken"));
    }
    let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if body.len() != HEAD_LEN + len {
        return Err(malformed());
    }
    Ok(body.slice(HEAD_LEN..))
}

fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// An answer with data and what ends it.
pub(super) fn answer(data: Bytes, trailers: HeaderMap) -> Response<Body> {
    response(Full::new(data).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed())
}

/// An answer that says that all is well.
pub(super) fn done() -> Response<Body> {
    answer(frame(&[]), HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]))
}

/// An answer without data.
pub(super) fn failed(failure: &Failure) -> Response<Body> {
    let mut response = response(Full::default().boxed());
    let message = utf8_percent_encode(&failure.message, NON_ALPHANUMERIC).to_string();
    response.headers_mut().insert(STATUS, HeaderValue::from(failure.code as u16));
    if let Ok(message) = HeaderValue::from_str(&message) {
        response.headers_mut().insert(MESSAGE, message);
    }
    response
}

/// The header with the code.
pub(super) const STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");
/// The header with the words.
pub(super) const MESSAGE: http::HeaderName = http::HeaderName::from_static("grpc-message");
