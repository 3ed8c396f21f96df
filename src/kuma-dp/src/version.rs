//! Which kuma-dp this is.

use serde_json::{Value, json};

/// The version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is told to the control plane.
pub(crate) fn build_info() -> Value {
    json!({"version": VERSION, "gitTag": format!("v{VERSION}"), "gitCommit": "unknown", "buildDate": "unknown"})
}

/// `kuma-dp version`.
pub(crate) fn print(detailed: bool) {
    if detailed {
        println!("Product:       Kuma");
        println!("Version:       {VERSION}");
        println!("Git Tag:       v{VERSION}");
        println!("Git Commit:    unknown");
        println!("Build Date:    unknown");
    } else {
        println!("Kuma: {VERSION}");
    }
}
