//! Who may do what: the static access rules (`access.static` of the configuration).

use crate::user::{ADMIN, AUTHENTICATED, UNAUTHENTICATED, User};

/// A refusal: status 403, title `Access Denied`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct AccessDenied {
    /// The `detail` of the answer.
    pub reason: String,
}

/// Users and groups that a rule admits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// By name.
    pub users: Vec<String>,
    /// By any of their groups.
    pub groups: Vec<String>,
}

impl Allowed {
    /// The administrator only.
    pub fn admin() -> Self {
        Self { users: vec![ADMIN.to_owned()], groups: vec![ADMIN.to_owned()] }
    }

    /// Everybody.
    pub fn everybody() -> Self {
        Self { users: Vec::new(), groups: vec![UNAUTHENTICATED.to_owned(), AUTHENTICATED.to_owned()] }
    }

    /// Whether this user is admitted.
    pub fn admits(&self, user: &User) -> bool {
        self.users.contains(&user.name) || user.groups.iter().any(|group| self.groups.contains(group))
    }

    fn check(&self, user: &User, reason: impl FnOnce() -> String) -> Result<(), AccessDenied> {
        if self.admits(user) { Ok(()) } else { Err(AccessDenied { reason: reason() }) }
    }
}

/// All rules; the defaults are Kuma's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// Kinds that only administrators may read and write (`Descriptor::admin_only`).
    pub admin_resources: Allowed,
    /// Issuing dataplane tokens.
    pub generate_dp_token: Allowed,
    /// Issuing user tokens.
    pub generate_user_token: Allowed,
    /// Issuing zone tokens.
    pub generate_zone_token: Allowed,
    /// Reading the configuration of a proxy.
    pub view_config_dump: Allowed,
    /// Reading the statistics of a proxy.
    pub view_stats: Allowed,
    /// Reading the clusters of a proxy.
    pub view_clusters: Allowed,
    /// Reading the configuration of the control plane.
    pub control_plane_metadata: Allowed,
}

impl Default for AccessRules {
    fn default() -> Self {
        Self {
            admin_resources: Allowed::admin(),
            generate_dp_token: Allowed::admin(),
            generate_user_token: Allowed::admin(),
            generate_zone_token: Allowed::admin(),
            view_config_dump: Allowed::everybody(),
            view_stats: Allowed::everybody(),
            view_clusters: Allowed::everybody(),
            control_plane_metadata: Allowed::everybody(),
        }
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Read or write a resource of this kind.
    Resource(model::Kind),
    /// Issue a dataplane token.
    GenerateDataplaneToken,
    /// Issue a user token.
    GenerateUserToken,
    /// Issue a token for this zone.
    GenerateZoneToken(&'a str),
    /// Read an Envoy configuration.
    ViewConfigDump,
    /// Read Envoy statistics.
    ViewStats,
    /// Read Envoy clusters.
    ViewClusters,
    /// Read the configuration of the control plane.
    ViewControlPlaneMetadata,
    /// See and change the group of replicas, and take backups: the right to all secrets.
    ManageReplicas,
}

impl AccessRules {
    /// Whether `user` may do this.
    ///
    /// # Errors
    /// The refusal, with the text for the client.
    pub fn check(&self, user: &User, action: Action<'_>) -> Result<(), AccessDenied> {
        let envoy = || format!("user \"{user}\" cannot access envoy proxy info");
        match action {
            Action::Resource(kind) if kind.admin_only => self
                .admin_resources
                .check(user, || format!("user \"{user}\" cannot access the resource of type \"{kind}\"")),
            Action::Resource(_) => Ok(()),
            Action::GenerateDataplaneToken => {
                self.generate_dp_token.check(user, || format!("user \"{user}\" cannot access generate dataplane token"))
            }
            Action::GenerateUserToken => self.generate_user_token.check(user, || "action not allowed".to_owned()),
            Action::GenerateZoneToken(zone) => self
                .generate_zone_token
                .check(user, || format!("user \"{user}\" cannot access generate zone token for zone '{zone}'")),
            Action::ViewConfigDump => self.view_config_dump.check(user, envoy),
            Action::ViewStats => self.view_stats.check(user, envoy),
            Action::ViewClusters => self.view_clusters.check(user, envoy),
            Action::ViewControlPlaneMetadata => self
                .control_plane_metadata
                .check(user, || format!("user \"{user}\" cannot access control-plane metadata")),
            Action::ManageReplicas => {
                self.admin_resources.check(user, || format!("user \"{user}\" cannot manage replicas"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::registry::{GLOBAL_SECRET, MESH, SECRET};

    use super::*;

    #[test]
    fn defaults_reserve_secrets_and_tokens_for_administrators() {
        let rules = AccessRules::default();
        let anonymous = User::anonymous();
        for (action, reason) in [
            (Action::Resource(MESH), None),
            (Action::ViewConfigDump, None),
            (Action::ViewControlPlaneMetadata, None),
            (Action::Resource(SECRET), Some("cannot access the resource of type \"Secret\"")),
            (Action::Resource(GLOBAL_SECRET), Some("cannot access the resource of type \"GlobalSecret\"")),
            (Action::GenerateDataplaneToken, Some("cannot access generate dataplane token")),
            (Action::GenerateZoneToken("east"), Some("cannot access generate zone token for zone 'east'")),
            (Action::GenerateUserToken, Some("action not allowed")),
        ] {
            let denied = rules.check(&anonymous, action).err().map(|e| e.reason);
            let expected = reason.map(|text| match action {
                Action::GenerateUserToken => text.to_owned(),
                _ => format!("user \"{anonymous}\" {text}"),
            });
            assert_eq!(denied, expected, "{action:?}");
            assert_eq!(rules.check(&User::admin().authenticated(), action), Ok(()), "{action:?}");
        }
    }
}
