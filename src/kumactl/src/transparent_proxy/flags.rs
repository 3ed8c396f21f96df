//! The flags, and which keys they set.

use anyhow::{Context, Result};
use clap::{ArgAction, Args};
use serde_json::Value;

use super::config::{self, Config};

/// `install transparent-proxy`.
#[derive(Debug, Args)]
pub(crate) struct InstallFlags {
    /// file with settings in YAML or JSON, - for standard input; later ones win
    #[arg(long, action = ArgAction::Append, value_delimiter = ',')]
    config: Vec<String>,
    /// print the rules and change nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dry_run: Option<String>,
    /// print what is done
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    verbose: Option<String>,
    /// name or UID of the user that runs kuma-dp
    #[arg(long)]
    kuma_dp_user: Option<String>,
    /// families whose traffic is redirected: dualstack or ipv4
    #[arg(long)]
    ip_family_mode: Option<String>,
    /// redirect inbound traffic to the proxy
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    redirect_inbound: Option<String>,
    /// port to which inbound traffic is redirected
    #[arg(long)]
    redirect_inbound_port: Option<String>,
    /// port to which outbound traffic is redirected
    #[arg(long)]
    redirect_outbound_port: Option<String>,
    /// ports whose inbound traffic is left alone, with commas between
    #[arg(long)]
    exclude_inbound_ports: Option<String>,
    /// ports whose outbound traffic is left alone, with commas between
    #[arg(long)]
    exclude_outbound_ports: Option<String>,
    /// outbound ports of users that are left alone, as [protocols:][ports:]uids
    #[arg(long, action = ArgAction::Append)]
    exclude_outbound_ports_for_uids: Vec<String>,
    /// addresses from which inbound traffic is left alone
    #[arg(long, action = ArgAction::Append)]
    exclude_inbound_ips: Vec<String>,
    /// addresses to which outbound traffic is left alone
    #[arg(long, action = ArgAction::Append)]
    exclude_outbound_ips: Vec<String>,
    /// put the rule for inbound traffic before others instead of after them
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    redirect_inbound_insert_instead_of_append: Option<String>,
    /// put the rule for outbound traffic before others instead of after them
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    redirect_outbound_insert_instead_of_append: Option<String>,
    /// redirect questions to the name servers of this machine
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    redirect_dns: Option<String>,
    /// redirect all questions to name servers
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    redirect_all_dns_traffic: Option<String>,
    /// port of the DNS proxy
    #[arg(long)]
    redirect_dns_port: Option<String>,
    /// do not tell DNS connections of kuma-dp and of applications apart
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_dns_conntrack_zone_split: Option<String>,
    /// network behind an interface that is redirected as well, as interface:CIDR
    #[arg(long, action = ArgAction::Append)]
    vnet: Vec<String>,
    /// drop packets in invalid states
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    drop_invalid_packets: Option<String>,
    /// not supported
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    store_firewalld: Option<String>,
    /// log packets
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    iptables_logs: Option<String>,
    /// leave comments out of the rules; they cannot be removed by uninstall then
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_comments: Option<String>,
    /// programs to use, as name:path with commas between
    #[arg(long, value_delimiter = ',')]
    iptables_executables: Vec<String>,
    /// seconds to wait for the lock of legacy iptables
    #[arg(long)]
    wait: Option<String>,
    /// microseconds between looks at that lock
    #[arg(long)]
    wait_interval: Option<String>,
    /// how often a failed installation is tried again
    #[arg(long)]
    max_retries: Option<String>,
    /// pause before it is tried again
    #[arg(long)]
    sleep_between_retries: Option<String>,
}

/// `uninstall transparent-proxy`.
#[derive(Debug, Args)]
pub(crate) struct UninstallFlags {
    /// print what would be left and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// print what is done
    #[arg(long)]
    pub(super) verbose: bool,
}

/// `install transparent-proxy-validator`.
#[derive(Debug, Args)]
pub(crate) struct ValidatorFlags {
    /// families to check: dualstack or ipv4
    #[arg(long, default_value = "dualstack")]
    pub(super) ip_family_mode: String,
    /// port to which inbound traffic is redirected
    #[arg(long, default_value_t = 15006)]
    pub(super) validation_server_port: u16,
}

impl InstallFlags {
    /// Flags with one value, and their keys.
    fn single(&self) -> [(&'static str, &Option<String>); 23] {
        [
            ("dryRun", &self.dry_run),
            ("verbose", &self.verbose),
            ("kumaDPUser", &self.kuma_dp_user),
            ("ipFamilyMode", &self.ip_family_mode),
            ("redirect.inbound.enabled", &self.redirect_inbound),
            ("redirect.inbound.port", &self.redirect_inbound_port),
            ("redirect.outbound.port", &self.redirect_outbound_port),
            ("redirect.inbound.excludePorts", &self.exclude_inbound_ports),
            ("redirect.outbound.excludePorts", &self.exclude_outbound_ports),
            ("redirect.inbound.insertRedirectInsteadOfAppend", &self.redirect_inbound_insert_instead_of_append),
            ("redirect.outbound.insertRedirectInsteadOfAppend", &self.redirect_outbound_insert_instead_of_append),
            ("redirect.dns.enabled", &self.redirect_dns),
            ("redirect.dns.captureAll", &self.redirect_all_dns_traffic),
            ("redirect.dns.port", &self.redirect_dns_port),
            ("redirect.dns.skipConntrackZoneSplit", &self.skip_dns_conntrack_zone_split),
            ("dropInvalidPackets", &self.drop_invalid_packets),
            ("storeFirewalld", &self.store_firewalld),
            ("log.enabled", &self.iptables_logs),
            ("comments.disabled", &self.disable_comments),
            ("wait", &self.wait),
            ("waitInterval", &self.wait_interval),
            ("retry.maxRetries", &self.max_retries),
            ("retry.sleepBetweenRetries", &self.sleep_between_retries),
        ]
    }

    /// Flags with a list, and their keys.
    fn lists(&self) -> [(&'static str, &Vec<String>); 4] {
        [
            ("redirect.outbound.excludePortsForUIDs", &self.exclude_outbound_ports_for_uids),
            ("redirect.inbound.excludePortsForIPs", &self.exclude_inbound_ips),
            ("redirect.outbound.excludePortsForIPs", &self.exclude_outbound_ips),
            ("redirect.vnet.networks", &self.vnet),
        ]
    }

    /// The settings in force; `read` gives the text of a file or of standard input.
    ///
    /// # Errors
    /// A file that cannot be read, and values that cannot be used.
    pub(super) fn settle(
        &self,
        read: impl Fn(&str) -> std::io::Result<String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Config> {
        let set = |flag: &Option<String>| flag.as_deref().is_some_and(|value| value == "true");
        if set(&self.redirect_dns) && set(&self.redirect_all_dns_traffic) {
            anyhow::bail!("only one of '--redirect-dns' or '--redirect-all-dns-traffic' should be specified");
        }
        let mut settings = config::defaults();
        for file in self.config.iter().filter(|file| !file.is_empty()) {
            let text = read(file).with_context(|| {
                format!(
                    "unable to access configuration file '{file}', please check if the file exists and has the correct permissions"
                )
            })?;
            let document = model::yaml::read(&text).context("failed to load configuration from provided input")?;
            config::merge(&mut settings, document);
        }
        config::apply_env(&mut settings, env);
        for (key, value) in self.single() {
            if let Some(value) = value {
                config::set(&mut settings, key, Value::from(value.as_str()));
            }
        }
        for (key, values) in self.lists().into_iter().filter(|(_, values)| !values.is_empty()) {
            config::set(&mut settings, key, values.iter().map(String::as_str).collect());
        }
        for executable in &self.iptables_executables {
            let (name, path) = executable.split_once(':').context("--iptables-executables: expected name:path")?;
            config::merge(&mut settings["iptablesExecutables"], serde_json::json!({name: path}));
        }
        Config::read(&settings)
    }
}
