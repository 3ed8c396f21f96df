//! The dataplane token: where it comes from, and what it must look like.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What the operator is told when a token is unusable.
const ADVICE: &str = "dataplane token is invalid, in Kubernetes you must mount a serviceAccount token, in universal you \
                      must start your proxy with a generated token.";

/// A file with the token. It is read again for every bootstrap request.
#[derive(Clone, Debug)]
pub(crate) struct TokenFile(PathBuf);

impl TokenFile {
    /// The token of the settings: an inline text is written to `<work_dir>/<name>` first. `None` when
    /// there is none, which the control plane may accept.
    ///
    /// # Errors
    /// When the file cannot be written or read, or its content is no token.
    pub(crate) fn prepare(inline: &str, path: &str, work_dir: &Path, name: &str) -> Result<Option<Self>> {
        let path = if inline.is_empty() {
            if path.is_empty() {
                return Ok(None);
            }
            PathBuf::from(path)
        } else {
            let path = work_dir.join(name);
            write_private(&path, inline.as_bytes())?;
            path
        };
        let file = Self(path);
        file.read().map_err(|cause| anyhow!("{ADVICE}: {cause:#}"))?;
        Ok(Some(file))
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The token, trimmed.
    ///
    /// # Errors
    /// When the file is unreadable or holds no token.
    pub(crate) fn read(&self) -> Result<String> {
        let path = self.0.display();
        let content = std::fs::read_to_string(&self.0).with_context(|| format!("could not read file {path}"))?;
        if content.is_empty() {
            bail!("token under file {path} is empty");
        }
        let token = content.trim();
        if token.contains(['\n', '\r', '\0']) {
            bail!("Token shouldn't contain line breaks within the token, only at the start or end");
        }
        check_jwt(token).map_err(|cause| anyhow!("not valid JWT token. Can't parse it.: {cause}"))?;
        Ok(token.to_owned())
    }
}

/// Whether the text has the parts of a JWT; the signature is the control plane's business.
fn check_jwt(token: &str) -> Result<(), String> {
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, _signature] = parts.as_slice() else {
        return Err(format!("token contains an invalid number of segments: expected 3, got {}", parts.len()));
    };
    for (name, part) in [("header", header), ("claims", claims)] {
        let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|e| format!("{name}: {e}"))?;
        serde_json::from_slice::<serde_json::Map<_, _>>(&bytes).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let wrote = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    wrote.and_then(|mut file| file.write_all(content)).with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJOYW1lIjoiIn0.c2ln";

    #[test]
    fn an_inline_token_becomes_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::prepare(TOKEN, "/elsewhere", dir.path(), "web-1").unwrap().unwrap();
        assert_eq!(file.path(), dir.path().join("web-1"));
        assert_eq!(file.read().unwrap(), TOKEN);
        assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn unusable_tokens_are_explained() {
        let dir = tempfile::tempdir().unwrap();
        let error = |content: &str| {
            let path = dir.path().join("token");
            std::fs::write(&path, content).unwrap();
            format!("{:#}", TokenFile::prepare("", path.to_str().unwrap(), dir.path(), "x").unwrap_err())
        };
        assert!(error("").contains("is empty"));
        assert!(error("a\nb").contains("line breaks within the token"));
        assert!(error("not-a-token").contains("not valid JWT token. Can't parse it."));
    }

    #[test]
    fn no_token_is_allowed_here() {
        assert!(TokenFile::prepare("", "", Path::new("/tmp"), "x").unwrap().is_none());
    }
}
