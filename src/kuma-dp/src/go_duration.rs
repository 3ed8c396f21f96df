//! Durations in Go's spelling, as in `1m30s`.

use std::time::Duration;

use model::kinds::duration::GoDuration;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time: invalid duration {0:?}")]
pub(crate) struct InvalidDuration(String);

/// Parses a duration that is not negative.
///
/// # Errors
/// When the text is not a sequence of numbers with units, or `0`.
pub(crate) fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let parsed = text.parse::<GoDuration>().ok().filter(|duration| !duration.is_negative());
    parsed.map(GoDuration::to_std).ok_or_else(|| InvalidDuration(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_go_are_understood() {
        for (text, millis) in [("10s", 10_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("250ms", 250), ("0", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "5", "s", "1x", "-1s", "1s2"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
