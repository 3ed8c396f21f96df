//! Pages of lists: the parameters `size` and `offset`, and the body of a page.

use axum::response::Response;
use serde_json::Value;

use crate::call::Call;
use crate::errors::Problem;
use crate::json;

const SIZE_DEFAULT: usize = 100;
const SIZE_MAX: usize = 1000;

/// How many items the client wants.
pub(crate) fn size(call: &Call, title: &str) -> Result<usize, Problem> {
    let Some(text) = call.query.get("size").filter(|text| !text.is_empty()) else { return Ok(SIZE_DEFAULT) };
    let size: i64 = text.parse().map_err(|_| Problem::page_size(title, "invalid format"))?;
    match usize::try_from(size) {
        Err(_) | Ok(0) => Err(Problem::page_size(title, "must be greater than 0")),
        Ok(size) if size > SIZE_MAX => {
            let reason = format!("invalid page size of {size}. Maximum page size is {SIZE_MAX}");
            Err(Problem::page_size(title, reason))
        }
        Ok(size) => Ok(size),
    }
}

/// Where the page begins.
pub(crate) fn offset(call: &Call, title: &str) -> Result<usize, Problem> {
    let Some(text) = call.query.get("offset").filter(|text| !text.is_empty()) else { return Ok(0) };
    let refuse = |why: String| Problem::refused(title, format_args!("invalid offset: {why}"));
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse(format!("strconv.Atoi: parsing {text:?}: invalid syntax")));
    }
    if text.starts_with('-') && digits.bytes().any(|b| b != b'0') {
        return Err(refuse("must be non-negative".to_owned()));
    }
    let offset: i64 = digits.parse().map_err(|_| refuse("exceeds maximum value".to_owned()))?;
    usize::try_from(offset).map_err(|_| refuse("exceeds maximum value".to_owned()))
}

/// The address of the page that begins at `offset`.
pub(crate) fn next_url(call: &Call, offset: usize) -> String {
    let root = call.settings().root_url.trim_end_matches('/');
    // The root URL stands for the base path as well.
    let base_path = call.settings().base_path.trim_end_matches('/');
    let (base, path) = match root {
        "" => (&*call.origin, &*call.path),
        root => (root, call.path.strip_prefix(base_path).unwrap_or(&call.path)),
    };
    format!("{base}{path}?{}", call.query.with("offset", &offset.to_string()))
}

/// The answer with a page of rendered documents.
pub(crate) fn answer(call: &Call, items: &[String], total: usize, next: Option<usize>) -> Response {
    let next = next.map_or(Value::Null, |offset| Value::String(next_url(call, offset)));
    let items = items.join(",");
    json::document(&format!("{{\"total\":{total},\"items\":[{items}],\"next\":{next}}}"))
}
