//! From the body of a write to a checked, typed document.

use model::document::Submission;
use model::{DecodeError, Document, Kind};

use crate::errors::Problem;

/// Title of everything that is wrong with the body itself.
pub(crate) const TITLE: &str = "Could not process a resource";

/// Decodes and validates a body that claims to be of this kind. Its metadata is not checked yet.
pub(crate) fn admit(kind: Kind, body: &[u8]) -> Result<Submission, Problem> {
    let malformed = |why: String| Problem::malformed(format!("invalid {kind} object: {why:?}"));
    let body = str::from_utf8(body).map_err(|e| malformed(e.to_string()))?;
    let submission = Submission::read_json(kind, body).map_err(|error| match error {
        DecodeError::Malformed(why) => malformed(why),
        DecodeError::Invalid(faults) => Problem::invalid(TITLE, faults),
    })?;
    let Submission { mesh, name, labels, spec, .. } = &submission;
    let faults = (kind.codec.validate)(&Document { mesh, name, labels, spec });
    faults.into_result().map_err(|faults| Problem::invalid(TITLE, faults))?;
    Ok(submission)
}
