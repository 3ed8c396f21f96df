//! What settings must satisfy; all faults of one start in one message, in Kuma's words.

use anyhow::{Result, bail};

use super::Settings;

impl Settings {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every fault, joined by `; `.
    pub(crate) fn validate(&self) -> Result<()> {
        let mut faults = Vec::new();
        let mut group = |name: &str, found: Vec<String>| {
            faults.extend(found.into_iter().map(|fault| format!(".{name} is not valid: {fault}")));
        };
        group("ControlPlane", self.control_plane_faults());
        group("Dataplane", self.dataplane_faults());
        let mut runtime = Vec::new();
        if self.dataplane_runtime.binary_path.is_empty() {
            runtime.push(".BinaryPath must be non-empty".to_owned());
        }
        group("DataplaneRuntime", runtime);
        let mut dns = Vec::new();
        if !is_port(self.dns.proxy_port) {
            dns.push(".ProxyPort has to be in (0, 65535] range".to_owned());
        }
        group("DNS", dns);
        if !faults.is_empty() {
            bail!("configuration validation failed: {}", faults.join("; "));
        }
        let proxy_type = &self.dataplane.proxy_type;
        if proxy_type != "dataplane" {
            bail!("invalid proxy type {proxy_type:?}");
        }
        Ok(())
    }

    fn control_plane_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if reqwest::Url::parse(&self.control_plane.url).is_err() {
            faults.push(format!(
                ".Url is not valid: expected an absolute URL as https://localhost:5678, got {:?}",
                self.control_plane.url
            ));
        }
        if self.control_plane.retry_backoff.is_zero() {
            faults.push(".Retry is not valid: .Backoff must be a positive duration".to_owned());
        }
        if self.control_plane.retry_max_duration.is_zero() {
            faults.push(".Retry is not valid: .MaxDuration must be a positive duration".to_owned());
        }
        faults
    }

    fn dataplane_faults(&self) -> Vec<String> {
        let dataplane = &self.dataplane;
        let mut faults = Vec::new();
        if !self.has_resource() {
            if dataplane.proxy_type != "dataplane" {
                faults.push(format!(".ProxyType {:?} is not supported", dataplane.proxy_type));
            }
            if dataplane.mesh.is_empty() {
                faults.push(".Mesh must be non-empty".to_owned());
            }
            if dataplane.name.is_empty() {
                faults.push(".Name must be non-empty".to_owned());
            }
        }
        if dataplane.drain_time.is_zero() {
            faults.push(".DrainTime must be positive".to_owned());
        }
        if !is_port(dataplane.readiness_port) {
            faults.push(".ReadinessPort has to be in (0, 65535] range".to_owned());
        }
        faults
    }
}

fn is_port(port: u32) -> bool {
    (1..=65535).contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_mesh_are_needed_without_a_resource() {
        let error = Settings::default().validate().unwrap_err().to_string();
        assert_eq!(
            error,
            "configuration validation failed: .Dataplane is not valid: .Mesh must be non-empty; .Dataplane is not \
             valid: .Name must be non-empty"
        );
        let mut settings = Settings::default();
        settings.dataplane_runtime.resource = "type: Dataplane".to_owned();
        assert!(settings.validate().is_ok());
    }
}
