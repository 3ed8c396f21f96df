//! Durations: Go's text form in plugin kinds, protobuf's seconds in proto kinds.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use super::proto_json::fraction_digits;

/// A signed span in nanoseconds, as Go's `time.Duration`: parsed from and printed as `1h30m0s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration {
    /// The span in nanoseconds.
    pub nanos: i64,
}

/// Text that is no Go duration; the message is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadDuration(String);

const SECOND: i64 = 1_000_000_000;

impl GoDuration {
    /// A span of whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self { nanos: seconds * SECOND }
    }

    /// A span of whole milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: millis * 1_000_000 }
    }

    /// The span, or zero when it is negative.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos).unwrap_or(0))
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is negative.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }
}

impl From<Duration> for GoDuration {
    /// Saturates at Go's maximum of about 292 years.
    fn from(span: Duration) -> Self {
        Self { nanos: i64::try_from(span.as_nanos()).unwrap_or(i64::MAX) }
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos < 0 {
            f.write_char('-')?;
        }
        let nanos = self.nanos.unsigned_abs();
        let with_fraction = |f: &mut fmt::Formatter<'_>, unit: u64, suffix: &str, value: u64| {
            let (whole, rest) = (value / unit, value % unit);
            write!(f, "{whole}")?;
            if rest > 0 {
                let width = unit.ilog10() as usize;
                let digits = format!("{rest:0width$}");
                write!(f, ".{}", digits.trim_end_matches('0'))?;
            }
            f.write_str(suffix)
        };
        match nanos {
            0 => f.write_str("0s"),
            n if n < 1_000 => write!(f, "{n}ns"),
            n if n < 1_000_000 => with_fraction(f, 1_000, "µs", n),
            n if n < 1_000_000_000 => with_fraction(f, 1_000_000, "ms", n),
            n => {
                let second = SECOND.unsigned_abs();
                let (minutes, seconds) = (n / (60 * second), n % (60 * second));
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                with_fraction(f, second, "s", seconds)
            }
        }
    }
}

fn unit_nanos(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    })
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}

impl FromStr for GoDuration {
    type Err = BadDuration;

    fn from_str(text: &str) -> Result<Self, BadDuration> {
        let invalid = || BadDuration(format!("time: invalid duration {text:?}"));
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let (whole, after) = split_while(rest, |c| c.is_ascii_digit());
            let (fraction, after) = match after.strip_prefix('.') {
                Some(after) => split_while(after, |c| c.is_ascii_digit()),
                None => ("", after),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(invalid());
            }
            let (unit, after) = split_while(after, |c| c != '.' && !c.is_ascii_digit());
            if unit.is_empty() {
                return Err(BadDuration(format!("time: missing unit in duration {text:?}")));
            }
            let scale = i128::from(
                unit_nanos(unit)
                    .ok_or_else(|| BadDuration(format!("time: unknown unit {unit:?} in duration {text:?}")))?,
            );
            let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
            total = whole.checked_mul(scale).and_then(|n| total.checked_add(n)).ok_or_else(invalid)?;
            // Digits beyond the eighteenth are below a nanosecond for every unit.
            let digits = &fraction[..fraction.len().min(18)];
            if !digits.is_empty() {
                let value: i128 = digits.parse().map_err(|_| invalid())?;
                total += value * scale / 10_i128.pow(digits.len() as u32);
            }
            rest = after;
        }
        let total = if negative { -total } else { total };
        i64::try_from(total).map(|nanos| Self { nanos }).map_err(|_| invalid())
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// `google.protobuf.Duration`: seconds with 0, 3, 6 or 9 fractional digits and an `s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtoDuration {
    /// The span in nanoseconds.
    pub nanos: i64,
}

impl ProtoDuration {
    /// The span, or zero when it is negative.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos).unwrap_or(0))
    }
}

impl fmt::Display for ProtoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos < 0 {
            f.write_char('-')?;
        }
        let (seconds, nanos) = (self.nanos.unsigned_abs() / 1_000_000_000, self.nanos.unsigned_abs() % 1_000_000_000);
        write!(f, "{seconds}")?;
        let digits = usize::from(fraction_digits(nanos as u32));
        if digits > 0 {
            write!(f, ".{}", &format!("{nanos:09}")[..digits])?;
        }
        f.write_char('s')
    }
}

impl FromStr for ProtoDuration {
    type Err = BadDuration;

    fn from_str(text: &str) -> Result<Self, BadDuration> {
        // Proto durations are the subset `<seconds>[.<fraction>]s` of Go's; the reference decoder
        // takes any Go duration, so do we.
        let span: GoDuration = text.parse().map_err(|e| BadDuration(format!("bad Duration: {e}")))?;
        Ok(Self { nanos: span.nanos })
    }
}

impl Serialize for ProtoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProtoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_printed_in_normal_form() {
        for (input, expected) in [
            ("90s", "1m30s"),
            ("0s", "0s"),
            ("0", "0s"),
            ("1h", "1h0m0s"),
            ("2h0m0s", "2h0m0s"),
            ("25ms", "25ms"),
            ("1.5h", "1h30m0s"),
            ("1500ms", "1.5s"),
            ("-10s", "-10s"),
            ("1us", "1µs"),
            ("1.5ms", "1.5ms"),
            ("3ns", "3ns"),
            (".5s", "500ms"),
        ] {
            assert_eq!(input.parse::<GoDuration>().expect(input).to_string(), expected);
        }
    }

    #[test]
    fn bad_durations_are_refused_in_gos_words() {
        for (input, expected) in [
            ("", r#"time: invalid duration """#),
            ("s", r#"time: invalid duration "s""#),
            ("10", r#"time: missing unit in duration "10""#),
            ("10x", r#"time: unknown unit "x" in duration "10x""#),
            ("99999999h", r#"time: invalid duration "99999999h""#),
        ] {
            assert_eq!(input.parse::<GoDuration>().expect_err(input).to_string(), expected);
        }
    }

    #[test]
    fn proto_durations_show_thousands_of_digits() {
        for (input, expected) in [("10s", "10s"), ("0.5s", "0.500s"), ("1.0005s", "1.000500s"), ("-1s", "-1s")] {
            assert_eq!(input.parse::<ProtoDuration>().expect(input).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn every_duration_survives_its_text(nanos in any::<i64>()) {
            let span = GoDuration { nanos };
            prop_assert_eq!(span.to_string().parse::<GoDuration>(), Ok(span));
            let span = ProtoDuration { nanos };
            prop_assert_eq!(span.to_string().parse::<ProtoDuration>(), Ok(span));
        }
    }
}
