//! The table of mesh names, and how it is replaced.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::dynamic_config::Handler;
use crate::readiness::Readiness;

/// The addresses of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) v4: Vec<Ipv4Addr>,
    pub(crate) v6: Vec<Ipv6Addr>,
}

/// The table: lower-case names without the trailing dot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    names: BTreeMap<String, Addresses>,
    /// Time to live of every record, in seconds.
    pub(crate) ttl: u32,
}

impl Records {
    /// The addresses of a name, whatever its case and with or without the trailing dot.
    pub(crate) fn lookup(&self, name: &str) -> Option<&Addresses> {
        self.names.get(&name.trim_end_matches('.').to_ascii_lowercase())
    }

    fn parse(body: &[u8]) -> Result<Self> {
        let config: Config = serde_json::from_slice(body).context("the DNS configuration is not valid")?;
        let mut names = BTreeMap::new();
        for record in config.records {
            let mut addresses = Addresses::default();
            for ip in &record.ips {
                match ip.parse() {
                    Ok(IpAddr::V4(v4)) => addresses.v4.push(v4),
                    Ok(IpAddr::V6(v6)) => addresses.v6.push(v6),
                    Err(_) => tracing::warn!(name = record.name, ip, "skipping an address that is no IP address"),
                }
            }
            names.insert(record.name.trim_end_matches('.').to_ascii_lowercase(), addresses);
        }
        Ok(Self { names, ttl: config.ttl })
    }
}

/// What the control plane sends on `/dns`.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    records: Vec<Record>,
    #[serde(default)]
    ttl: u32,
}

#[derive(Deserialize)]
struct Record {
    name: String,
    #[serde(default)]
    ips: Vec<String>,
}

/// The table in force, replaced as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedRecords(Arc<RwLock<Arc<Records>>>);

impl SharedRecords {
    /// The table in force.
    pub(crate) fn current(&self) -> Arc<Records> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, records: Records) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(records);
    }
}

/// Takes the table from dynamic configuration.
pub(crate) struct DnsHandler {
    /// Where the table goes.
    pub(crate) records: SharedRecords,
    /// Whom to tell that there is one.
    pub(crate) readiness: Arc<Readiness>,
}

impl Handler for DnsHandler {
    fn path(&self) -> &'static str {
        "/dns"
    }

    fn changed(&self, body: Option<&[u8]>) -> Result<()> {
        let records = body.map(Records::parse).transpose()?.unwrap_or_default();
        tracing::debug!(names = records.names.len(), "DNS table replaced");
        self.records.replace(records);
        self.readiness.dns_configured();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_by_family_and_case_does_not_matter() {
        let body = br#"{"records":[{"name":"Web.svc.mesh.local","ips":["241.0.0.1","fd00::1","x"]}],"ttl":30,
                        "extraLabels":{"mesh":"default"}}"#;
        let records = Records::parse(body).unwrap();
        let web = records.lookup("wEB.svc.mesh.local.").unwrap();
        assert_eq!(web.v4, [Ipv4Addr::new(241, 0, 0, 1)]);
        assert_eq!(web.v6, ["fd00::1".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(records.ttl, 30);
        assert_eq!(records.lookup("other."), None);
    }

    #[test]
    fn a_removed_configuration_empties_the_table() {
        let records = SharedRecords::default();
        let readiness = Arc::new(Readiness::new(true, None).unwrap());
        let handler = DnsHandler { records: records.clone(), readiness };
        handler.changed(Some(br#"{"records":[{"name":"a","ips":["1.1.1.1"]}]}"#)).unwrap();
        assert!(records.current().lookup("a").is_some());
        handler.changed(None).unwrap();
        assert!(records.current().lookup("a").is_none());
        assert!(handler.changed(Some(b"{")).is_err());
    }
}
