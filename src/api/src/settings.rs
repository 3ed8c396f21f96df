//! What the API is configured with, checked, and what it stands on.

use std::sync::Arc;
use std::time::Duration;

use identity::AccessRules;
use identity::token::PublicKeyEntry;
use model::labels::Site;
use serde_json::Value;
use store::Store;
use xds::ViewSettings;
use xds::view::Mode;

use crate::group::Group;
use crate::running::{EnvoyAdmin, Running};

/// Where the browser pages are.
#[derive(Clone, Debug)]
pub struct GuiSettings {
    /// `apiServer.gui.enabled`; off on federated zones whatever this says.
    pub enabled: bool,
    /// `apiServer.gui.rootUrl`.
    pub root_url: String,
    /// `apiServer.gui.basePath`.
    pub base_path: String,
}

/// Kuma's `apiServer.*` keys and the few others that the API obeys.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Global, or which zone.
    pub site: Site,
    /// `apiServer.readTimeout`: how long the body of a request may take; `None`: forever.
    pub read_timeout: Option<Duration>,
    /// `apiServer.readOnly`: no resource can be written over REST.
    pub read_only: bool,
    /// `apiServer.basePath`.
    pub base_path: String,
    /// `apiServer.rootUrl`: base of absolute links; empty to take the request's host.
    pub root_url: String,
    /// `apiServer.corsAllowedDomains`: origins, or regular expressions for whole origins.
    pub cors_allowed_domains: Vec<String>,
    /// `apiServer.gui`.
    pub gui: GuiSettings,
    /// `apiServer.authn.localhostIsAdmin`.
    pub localhost_is_admin: bool,
    /// `apiServer.authn.tokens.validator.publicKeys`.
    pub user_token_public_keys: Vec<PublicKeyEntry>,
    /// `apiServer.authn.tokens.validator.useSecrets`.
    pub validate_user_tokens_with_secrets: bool,
    /// `access.static`.
    pub access: AccessRules,
    /// `apiServer.authn.tokens.enableIssuer`.
    pub issue_user_tokens: bool,
    /// `dpServer.authn.dpProxy.dpToken.enableIssuer`.
    pub issue_dataplane_tokens: bool,
    /// `dpServer.authn.zoneProxy.zoneToken.enableIssuer`.
    pub issue_zone_tokens: bool,
    /// `multizone.zone.disableOriginLabelValidation`.
    pub disable_origin_label_validation: bool,
    /// `store.unsafeDelete`: meshes with dataplanes and connected zones can be deleted.
    pub unsafe_delete: bool,
    /// `store.type`, as `/gui` shows it.
    pub store_type: String,
    /// `store.kubernetes.systemNamespace`: namespace of rendered Kubernetes objects.
    pub system_namespace: String,
    /// The whole effective configuration with secrets masked, for `/config`.
    pub config: Value,
    /// `hostname-xxxx`, as `/` shows it.
    pub instance_id: String,
    /// Name of this machine.
    pub hostname: String,
    /// Version of this control plane.
    pub version: String,
}

impl Default for Settings {
    /// Kuma's defaults: a zone called `default` that stands alone.
    fn default() -> Self {
        Self {
            site: Site::universal_zone("default"),
            read_timeout: Some(Duration::from_secs(10)),
            read_only: false,
            base_path: "/".to_owned(),
            root_url: String::new(),
            cors_allowed_domains: Vec::new(),
            gui: GuiSettings { enabled: true, root_url: String::new(), base_path: "/gui".to_owned() },
            localhost_is_admin: true,
            user_token_public_keys: Vec::new(),
            validate_user_tokens_with_secrets: true,
            access: AccessRules::default(),
            issue_user_tokens: true,
            issue_dataplane_tokens: true,
            issue_zone_tokens: true,
            disable_origin_label_validation: false,
            unsafe_delete: false,
            store_type: "raft".to_owned(),
            system_namespace: "kuma-system".to_owned(),
            config: Value::Object(serde_json::Map::new()),
            instance_id: String::new(),
            hostname: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Settings {
    /// `global` or `zone`.
    pub fn mode_name(&self) -> &'static str {
        self.site.origin()
    }

    /// The zone's name; `None` on global.
    pub fn zone(&self) -> Option<&str> {
        match &self.site {
            Site::Global => None,
            Site::Zone { name, .. } => Some(name),
        }
    }

    /// Whether this is a zone below a global control plane.
    pub fn is_federated_zone(&self) -> bool {
        matches!(self.site, Site::Zone { federated: true, .. })
    }
}

/// What the API stands on.
#[derive(Clone)]
pub struct ApiState {
    /// Reads and writes.
    pub store: Arc<dyn Store>,
    /// Configuration.
    pub settings: Settings,
    /// What shapes pictures of meshes; as the running control plane has it.
    pub view_settings: Arc<ViewSettings>,
    /// The part that serves proxies; `None` where none does.
    pub running: Option<Arc<dyn Running>>,
    /// How Envoy's admin API is reached; `None` where it is not.
    pub envoy_admin: Option<Arc<dyn EnvoyAdmin>>,
    /// The group of replicas that keeps the store; `None` where the store has none.
    pub group: Option<Arc<dyn Group>>,
}

impl ApiState {
    /// The API over a store alone.
    pub fn new(store: Arc<dyn Store>, settings: Settings) -> Self {
        let view_settings = match &settings.site {
            Site::Global => ViewSettings { zone: "".into(), mode: Mode::Global, ..ViewSettings::default() },
            Site::Zone { name, kubernetes, .. } => {
                ViewSettings { zone: name.as_str().into(), kubernetes: *kubernetes, ..ViewSettings::default() }
            }
        };
        Self { store, settings, view_settings: Arc::new(view_settings), running: None, envoy_admin: None, group: None }
    }
}
