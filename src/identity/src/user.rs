//! Who makes a request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name and group of the administrator.
pub const ADMIN: &str = "mesh-system:admin";
/// Name of a request without identity.
pub const ANONYMOUS: &str = "mesh-system:anonymous";
/// Group of requests without identity.
pub const UNAUTHENTICATED: &str = "mesh-system:unauthenticated";
/// Group of everybody who has shown an identity.
pub const AUTHENTICATED: &str = "mesh-system:authenticated";
/// Name of the control plane itself; never comes from a request.
pub const CONTROL_PLANE: &str = "mesh-system:control-plane";

/// A user of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its groups.
    pub groups: Vec<String>,
}

impl User {
    /// The administrator.
    pub fn admin() -> Self {
        Self { name: ADMIN.to_owned(), groups: vec![ADMIN.to_owned()] }
    }

    /// Whoever showed no identity.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()] }
    }

    /// The control plane itself.
    pub fn control_plane() -> Self {
        Self { name: CONTROL_PLANE.to_owned(), groups: Vec::new() }
    }

    /// This user as an authenticator hands it on: also a member of [`AUTHENTICATED`].
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        self.groups.push(AUTHENTICATED.to_owned());
        self
    }

    /// Whether nobody has authenticated the request yet.
    pub fn is_anonymous(&self) -> bool {
        *self == Self::anonymous()
    }
}

/// As in messages: `name/group1,group2`.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.groups.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_shown_with_their_groups() {
        assert_eq!(User::anonymous().to_string(), "mesh-system:anonymous/mesh-system:unauthenticated");
        assert_eq!(
            User::admin().authenticated().to_string(),
            "mesh-system:admin/mesh-system:admin,mesh-system:authenticated"
        );
    }
}
