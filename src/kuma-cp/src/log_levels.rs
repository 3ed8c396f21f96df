//! Log levels that an operator changes while the control plane runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Registry, reload};

/// How many components may have a level of their own.
const OVERRIDES_MAX: usize = 200;
/// Longest name of a component, in bytes.
const NAME_LEN_MAX: usize = 256;

/// The levels, and the filter that obeys them.
pub(crate) struct LogLevels {
    filter: reload::Handle<Targets, Registry>,
    base: Targets,
    overrides: Mutex<BTreeMap<String, String>>,
}

/// A level that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LevelError {
    /// No such level.
    #[error("invalid log level: unknown log level {0:?}")]
    UnknownLevel(String),
    /// No name of a component.
    #[error("invalid component name {0:?}: expected at most {NAME_LEN_MAX} letters, digits, dots, dashes, underscores")]
    Name(String),
    /// There are too many already.
    #[error("maximum number of component overrides ({OVERRIDES_MAX}) reached")]
    TooMany,
}

/// The filter of a level name.
pub(crate) fn level(name: &str) -> Result<LevelFilter, LevelError> {
    match name {
        "off" => Ok(LevelFilter::OFF),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        _ => Err(LevelError::UnknownLevel(name.to_owned())),
    }
}

impl LogLevels {
    /// No overrides over `base`.
    pub(crate) fn new(filter: reload::Handle<Targets, Registry>, base: Targets) -> Self {
        Self { filter, base, overrides: Mutex::default() }
    }

    /// The overrides, by component.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        self.overrides.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the level of a component and of what is below it.
    ///
    /// # Errors
    /// See [`LevelError`].
    pub(crate) fn set(&self, component: &str, name: &str) -> Result<(), LevelError> {
        level(name)?;
        let starts_well = component.starts_with(|c: char| c.is_ascii_alphanumeric());
        let holds = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !starts_well || component.len() > NAME_LEN_MAX || !component.chars().all(holds) {
            return Err(LevelError::Name(component.to_owned()));
        }
        let mut overrides = self.overrides.lock().unwrap_or_else(PoisonError::into_inner);
        if overrides.len() >= OVERRIDES_MAX && !overrides.contains_key(component) {
            return Err(LevelError::TooMany);
        }
        overrides.insert(component.to_owned(), name.to_owned());
        self.obey(&overrides);
        Ok(())
    }

    /// Takes away the override of a component, or all; which those were.
    pub(crate) fn reset(&self, component: Option<&str>) -> BTreeMap<String, String> {
        let mut overrides = self.overrides.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = match component {
            None => std::mem::take(&mut *overrides),
            Some(name) => overrides.remove_entry(name).into_iter().collect(),
        };
        self.obey(&overrides);
        removed
    }

    fn obey(&self, overrides: &BTreeMap<String, String>) {
        // Loggers are shown as `kuma-cp.run` and are called `kuma_cp::run`.
        let target = |component: &str| component.replace('.', "::").replace('-', "_");
        let levels = overrides.iter().filter_map(|(component, name)| Some((target(component), level(name).ok()?)));
        if let Err(error) = self.filter.reload(self.base.clone().with_targets(levels)) {
            tracing::error!(%error, "log levels were not changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_set_listed_and_reset() {
        let base = Targets::new().with_default(LevelFilter::INFO);
        let (_filter, handle) = reload::Layer::new(base.clone());
        let levels = LogLevels::new(handle, base);
        levels.set("xds.session", "debug").unwrap();
        assert_eq!(levels.all(), [("xds.session".to_owned(), "debug".to_owned())].into());
        for (component, level, message) in [
            ("xds", "loud", "invalid log level: unknown log level \"loud\""),
            ("", "info", "invalid component name \"\""),
            (".x", "info", "invalid component name \".x\""),
            ("a b", "info", "invalid component name \"a b\""),
        ] {
            let error = levels.set(component, level).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        for n in 1..OVERRIDES_MAX {
            levels.set(&format!("c{n}"), "info").unwrap();
        }
        assert_eq!(levels.set("one-more", "info"), Err(LevelError::TooMany));
        assert_eq!(levels.reset(Some("xds.session")).len(), 1);
        assert_eq!(levels.reset(None).len(), OVERRIDES_MAX - 1);
        assert!(levels.all().is_empty());
    }
}
