//! What each part of the control plane takes of the settings.

use actors::Authentication;
use actors::duties::DutySettings;
use actors::duties::settings::LabelPropagation;
use xds::ViewSettings;
use xds::bootstrap::BootstrapParams;
use xds::generators::internal_addresses::InternalAddresses;
use xds::health::HealthSettings;

use super::SettingsError;
use super::typed::{Mode, Settings, StoreSettings};
use crate::version::VERSION;

impl Settings {
    /// What the configuration says of bootstraps; host, CA and address family are found per request.
    pub(crate) fn bootstrap_params(&self) -> BootstrapParams {
        let at = |key: &str| format!("bootstrapServer.params.{key}");
        let number = |key: &str| u32::try_from(self.tree.number(&at(key))).unwrap_or_default();
        let timeout = self.tree.time(&at("xdsConnectTimeout")).to_std();
        BootstrapParams {
            admin_address: self.tree.text(&at("adminAddress")).to_owned(),
            admin_port: number("adminPort"),
            admin_unix_socket: self.tree.flag(&at("envoyAdminUnixSocket")),
            admin_access_log_path: self.tree.text(&at("adminAccessLogPath")).to_owned(),
            xds_host: self.tree.text(&at("xdsHost")).to_owned(),
            xds_port: u16::try_from(number("xdsPort")).unwrap_or_default(),
            xds_connect_timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            xds_grpc_max_receive_message_bytes: number("xdsGrpcMaxReceiveMessageBytes"),
            xds_host_is_ipv4_only: false,
            hds_enabled: self.tree.flag("dpServer.hds.enabled"),
            reloadable_tokens: self.tree.flag("dpServer.authn.enableReloadableTokens"),
            ca_pem: String::new(),
        }
    }

    /// `apiServer.authn.localhostIsAdmin`.
    pub(crate) fn localhost_is_admin(&self) -> bool {
        self.tree.flag("apiServer.authn.localhostIsAdmin")
    }

    /// What the REST API takes.
    pub(crate) fn api(&self, instance_id: &str, hostname: &str) -> api::Settings {
        let tree = &self.tree;
        api::Settings {
            site: self.site(),
            read_timeout: Some(tree.time("apiServer.readTimeout").to_std()).filter(|limit| !limit.is_zero()),
            read_only: tree.flag("apiServer.readOnly"),
            base_path: tree.text("apiServer.basePath").to_owned(),
            root_url: tree.text("apiServer.rootUrl").to_owned(),
            cors_allowed_domains: tree.list("apiServer.corsAllowedDomains"),
            gui: api::GuiSettings {
                enabled: tree.flag("apiServer.gui.enabled"),
                root_url: tree.text("apiServer.gui.rootUrl").to_owned(),
                base_path: tree.text("apiServer.gui.basePath").to_owned(),
            },
            localhost_is_admin: tree.flag("apiServer.authn.localhostIsAdmin"),
            user_token_public_keys: self.api.user_token_keys.clone(),
            validate_user_tokens_with_secrets: tree.flag("apiServer.authn.tokens.validator.useSecrets"),
            access: self.access.clone(),
            issue_user_tokens: tree.flag("apiServer.authn.tokens.enableIssuer"),
            issue_dataplane_tokens: tree.flag("dpServer.authn.dpProxy.dpToken.enableIssuer"),
            issue_zone_tokens: tree.flag("dpServer.authn.zoneProxy.zoneToken.enableIssuer"),
            disable_origin_label_validation: tree.flag("multizone.zone.disableOriginLabelValidation"),
            unsafe_delete: tree.flag("store.unsafeDelete"),
            store_type: tree.text("store.type").to_owned(),
            system_namespace: tree.text("store.kubernetes.systemNamespace").to_owned(),
            config: tree.masked(),
            instance_id: instance_id.to_owned(),
            hostname: hostname.to_owned(),
            version: VERSION.to_owned(),
        }
    }

    /// What the actors of proxies take.
    ///
    /// # Errors
    /// An authentication that this build does not speak.
    pub(crate) fn proxies(&self, instance_id: &str) -> Result<actors::Settings, SettingsError> {
        let tree = &self.tree;
        let time = |key: &str| tree.time(key).to_std();
        Ok(actors::Settings {
            instance_id: instance_id.into(),
            zone: self.site_name().into(),
            kubernetes: self.kubernetes,
            internal_addresses: self.internal_addresses(),
            spire_socket_path: self.spire_socket_path(),
            authentication: self.authentication()?,
            deregistration_delay: time("xdsServer.dataplaneDeregistrationDelay"),
            status_flush_interval: time("xdsServer.dataplaneStatusFlushInterval"),
            idle_timeout: time("metrics.dataplane.idleTimeout"),
            backoff_base: time("general.certGenerationBaseBackoff"),
            backoff_max: time("general.certGenerationMaxBackoff"),
            health: tree.flag("dpServer.hds.enabled").then(|| self.health()),
            names_ttl: time("general.dnsCacheTTL"),
            verify_views: tree.flag("xdsServer.verifyViews"),
            ..actors::Settings::default()
        })
    }

    fn health(&self) -> HealthSettings {
        let time = |key: &str| self.tree.time(&format!("dpServer.hds.{key}")).to_std();
        let count = |key: &str| u32::try_from(self.tree.number(&format!("dpServer.hds.{key}"))).unwrap_or(1);
        HealthSettings {
            report_interval: time("interval"),
            timeout: time("checkDefaults.timeout"),
            interval: time("checkDefaults.interval"),
            no_traffic_interval: time("checkDefaults.noTrafficInterval"),
            healthy_threshold: count("checkDefaults.healthyThreshold"),
            unhealthy_threshold: count("checkDefaults.unhealthyThreshold"),
        }
    }

    /// What shapes pictures of meshes, for the API: `base` is what the site says.
    pub(crate) fn view(&self, base: &ViewSettings) -> ViewSettings {
        ViewSettings {
            internal_addresses: self.internal_addresses(),
            spire_socket_path: self.spire_socket_path(),
            ..base.clone()
        }
    }

    fn internal_addresses(&self) -> InternalAddresses {
        InternalAddresses::parse(&self.tree.list("ipam.knownInternalCIDRs"))
    }

    fn spire_socket_path(&self) -> String {
        self.tree.text("runtime.universal.spire.socketPath").to_owned()
    }

    fn authentication(&self) -> Result<Authentication, SettingsError> {
        match self.dp_server.authentication.as_str() {
            "none" => Ok(Authentication::None),
            "dpToken" => Ok(Authentication::Token {
                public_keys: self.dp_server.dataplane_token_keys.clone(),
                use_secrets: self.tree.flag("dpServer.authn.dpProxy.dpToken.validator.useSecrets"),
                in_memory: self.store == StoreSettings::Memory,
            }),
            other => Err(SettingsError::Invalid(format!(
                "dpServer.authn.dpProxy.type {other} needs Kubernetes, which this control plane does not speak: \
                 use dpToken or none"
            ))),
        }
    }

    /// What the duties of the leader take.
    ///
    /// # Errors
    /// Address blocks of another family.
    pub(crate) fn duties(&self) -> Result<DutySettings, SettingsError> {
        let tree = &self.tree;
        let block = |kind: &str| {
            let key = format!("ipam.{kind}.cidr");
            let text = tree.text(&key);
            text.parse().map_err(|_| SettingsError::Invalid(format!("{key}: expected an IPv4 block, got {text:?}")))
        };
        let propagation = tree.flag("meshService.labelPropagation.enabled");
        Ok(DutySettings {
            zone: self.site_name().to_owned(),
            global: self.mode == Mode::Global,
            mesh_service_cidr: block("meshService")?,
            mesh_external_service_cidr: block("meshExternalService")?,
            mesh_multi_zone_service_cidr: block("meshMultiZoneService")?,
            deletion_grace_period: tree.time("meshService.deletionGracePeriod").to_std(),
            label_propagation: propagation
                .then(|| LabelPropagation { allowed_keys: tree.list("meshService.labelPropagation.allowedLabelKeys") }),
            dataplane_cleanup_age: tree.time("runtime.universal.dataplaneCleanupAge").to_std(),
            dataplane_idle_timeout: tree.time("metrics.dataplane.idleTimeout").to_std(),
        })
    }
}
