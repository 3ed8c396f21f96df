//! The scalars of protobuf's JSON mapping: enums by name or number, 64-bit integers as text,
//! numbers that may be quoted, timestamps.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// Whether a field has its default value, which protobuf's JSON omits.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

macro_rules! proto_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal $number:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
        }

        impl $name {
            /// The name of the value, as in JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <::serde_json::Value as ::serde::Deserialize>::deserialize(deserializer)?;
                match &value {
                    $(::serde_json::Value::String(text) if text == $text => Ok(Self::$variant),)+
                    $(::serde_json::Value::Number(number) if number.as_i64() == Some($number) => Ok(Self::$variant),)+
                    ::serde_json::Value::String(text) => Err(::serde::de::Error::custom(
                        format!("unknown value {text:?} for enum {}", stringify!($name)),
                    )),
                    other => Err(::serde::de::Error::custom(format!("{other} is not a value of enum {}", stringify!($name)))),
                }
            }
        }
    };
}

pub(crate) use proto_enum;

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a non-negative number, perhaps quoted")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(|_| E::custom(format!("{value} is negative")))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<u64, E> {
        // Whole numbers below 2^53 are exact in a double.
        if value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value) {
            Ok(value as u64)
        } else {
            Err(E::custom(format!("{value} is not a whole number")))
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<u64, E> {
        value.parse().map_err(|_| E::custom(format!("{value:?} is not a whole number")))
    }
}

/// `uint32`: a number, perhaps quoted.
pub(crate) fn u32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = deserializer.deserialize_any(NumberVisitor)?;
    u32::try_from(value).map_err(|_| de::Error::custom(format!("{value} does not fit in 32 bits")))
}

/// `UInt32Value`: a number, perhaps quoted, or absent.
pub(crate) fn u32_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    u32(deserializer).map(Some)
}

/// `uint64`: text in JSON.
pub(crate) mod u64_text {
    use super::{Deserializer, NumberVisitor, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// `google.protobuf.Timestamp`: RFC 3339 in UTC with 0, 3, 6 or 9 fractional digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtoTime(pub Timestamp);

/// The number of fractional digits that protobuf's JSON shows for `nanos`.
pub(crate) fn fraction_digits(nanos: u32) -> u8 {
    match nanos {
        0 => 0,
        n if n % 1_000_000 == 0 => 3,
        n if n % 1_000 == 0 => 6,
        _ => 9,
    }
}

impl fmt::Display for ProtoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = fraction_digits(self.0.subsec_nanosecond().unsigned_abs());
        f.write_str(&DateTimePrinter::new().precision(Some(digits)).timestamp_to_string(&self.0))
    }
}

impl From<Timestamp> for ProtoTime {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl Serialize for ProtoTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProtoTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|e| de::Error::custom(format!("bad Timestamp: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_show_thousands_of_digits() {
        for (input, expected) in [
            ("2018-07-17T16:05:36.995Z", "2018-07-17T16:05:36.995Z"),
            ("2018-07-17T16:05:36Z", "2018-07-17T16:05:36Z"),
            ("2018-07-17T18:05:36.1234+02:00", "2018-07-17T16:05:36.123400Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            let time: Timestamp = input.parse().expect("a timestamp");
            assert_eq!(ProtoTime(time).to_string(), expected);
        }
    }
}
