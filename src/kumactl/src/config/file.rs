//! The configuration on disk.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Config;
use crate::cli::GlobalFlags;

/// A loaded configuration and where it is kept.
#[derive(Clone, Debug)]
pub(crate) struct ConfigFile {
    pub(crate) config: Config,
    /// `None` with `--no-config`.
    path: Option<PathBuf>,
}

impl ConfigFile {
    /// Loads the configuration; a missing file is created with the default one.
    ///
    /// # Errors
    /// When it cannot be read, created or understood; the file is named.
    pub(crate) fn load(flags: &GlobalFlags) -> Result<Self> {
        if flags.no_config {
            return Ok(Self { config: Config::local(), path: None });
        }
        let path = if flags.config_file.is_empty() {
            let home = std::env::var_os("HOME").context("HOME is not set: pass --config-file")?;
            Path::new(&home).join(".kumactl").join("config")
        } else {
            PathBuf::from(&flags.config_file)
        };
        let exists = path
            .try_exists()
            .with_context(|| format!("Failed to access configuration file {:?}", path.display().to_string()))?;
        if !exists {
            let file = Self { config: Config::local(), path: Some(path) };
            file.save()?;
            return Ok(file);
        }
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("Failed to read configuration from file {:?}", path.display().to_string()))?;
        let config = parse(&text)
            .with_context(|| format!("Failed to parse configuration from file {:?}", path.display().to_string()))?;
        Ok(Self { config, path: Some(path) })
    }

    /// Writes the configuration back.
    ///
    /// # Errors
    /// When the directory or the file cannot be written.
    pub(crate) fn save(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if let Some(dir) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(dir)
                .with_context(|| format!("Failed to create a directory {:?}", dir.display().to_string()))?;
        }
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(self.text()?.as_bytes()))
            .with_context(|| format!("Failed to write configuration into file {:?}", path.display().to_string()))
    }

    /// The configuration as YAML.
    pub(crate) fn text(&self) -> std::io::Result<String> {
        Ok(model::yaml::to_string(&serde_json::to_value(&self.config).map_err(std::io::Error::other)?))
    }
}

fn parse(text: &str) -> Result<Config> {
    match model::yaml::read(text)? {
        Value::Null => Ok(Config::default()),
        value => Ok(serde_json::from_value(value)?),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn flags(path: &Path) -> GlobalFlags {
        GlobalFlags {
            config_file: path.display().to_string(),
            context: String::new(),
            log_level: "off".to_owned(),
            no_config: false,
            api_timeout: std::time::Duration::ZERO,
            now: None,
        }
    }

    #[test]
    fn a_missing_file_is_created_private_with_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("config");
        let file = ConfigFile::load(&flags(&path)).unwrap();
        assert_eq!(file.config, Config::local());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ConfigFile::load(&flags(&path)).unwrap().config, Config::local());
    }

    #[test]
    fn snake_case_and_unknown_fields_are_taken() {
        let text =
            "control_planes:\n- name: a\n  coordinates: {api_server: {url: http://a, skip_verify: true}}\nx: 1\n";
        let config = parse(text).unwrap();
        assert!(config.control_planes[0].coordinates.api_server.skip_verify);
    }

    #[test]
    fn a_broken_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, "contexts: 1\n").unwrap();
        let error = ConfigFile::load(&flags(&path)).unwrap_err().to_string();
        assert!(error.starts_with("Failed to parse configuration from file"), "{error}");
    }
}
