//! Who somebody is, and how that is proved: users and their rights, tokens and their keys,
//! certificate authorities, SPIFFE identities and the certificates of servers.
//!
//! Keys, secrets and the time are passed in; nothing here reads a store or a clock.

pub mod access;
pub mod client_tls;
pub mod client_verifier;
mod der;
pub mod localhost;
pub mod rsa;
pub mod token;
pub mod user;
pub mod x509;

pub use access::{AccessDenied, AccessRules, Action, Allowed};
pub use localhost::{LocalRequest, local_admin};
pub use rsa::{KeyError, RsaPrivateKey, RsaPublicKey};
pub use user::User;
pub use x509::{CertificatePair, X509Error};
