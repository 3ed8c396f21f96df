//! What Kuma's resources are: kinds, keys, metadata, labels, identifiers, typed specs, defaults
//! and validation.
//!
//! This crate is pure: it does no I/O, reads no clock and draws no random number. Times are
//! passed in as [`Timestamp`].
//!
//! The table of kinds is [`registry::KINDS`]; each kind that has a typed spec has a file under
//! `kinds/`. Adding one costs its file and one line in the table.

pub mod codec;
pub mod defaults;
pub mod descriptor;
pub mod document;
pub mod go_json;
pub mod go_template;
pub mod key;
pub mod kinds;
pub mod kri;
pub mod labels;
pub mod meta;
pub mod mustache;
pub mod names;
pub mod registry;
pub mod resource;
pub mod schema;
pub mod sni;
pub mod spiffe;
pub mod violation;
pub mod yaml;

pub use codec::{Codec, DecodeError, Document};
pub use descriptor::{Descriptor, Form, KdsFlags, Kind, Scope};
pub use jiff::Timestamp;
pub use key::Key;
pub use kri::Kri;
pub use meta::{Labels, Meta};
pub use resource::{Change, Resource, Spec};
pub use violation::{Violation, Violations};
