//! Which control plane this is.

/// Its version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `kuma-cp version`.
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
