//! Whether all parts serve: what `/ready` answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Parts register, and say when they serve. Ready is when all do.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    parts: Vec<(&'static str, Arc<AtomicBool>)>,
}

/// What a part says.
#[derive(Clone, Debug)]
pub(crate) struct Part(Arc<AtomicBool>);

impl Part {
    /// The part serves, or no longer.
    pub(crate) fn set(&self, serves: bool) {
        self.0.store(serves, Ordering::Relaxed);
    }
}

impl Readiness {
    /// Registers a part that does not serve yet.
    pub(crate) fn register(&mut self, name: &'static str) -> Part {
        let flag = Arc::new(AtomicBool::new(false));
        self.parts.push((name, Arc::clone(&flag)));
        Part(flag)
    }

    /// The parts that do not serve.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        self.parts.iter().filter(|(_, flag)| !flag.load(Ordering::Relaxed)).map(|(name, _)| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_part_is() {
        let mut readiness = Readiness::default();
        let (api, proxies) = (readiness.register("api"), readiness.register("proxies"));
        api.set(true);
        assert_eq!(readiness.missing(), ["proxies"]);
        proxies.set(true);
        assert!(readiness.missing().is_empty());
        api.set(false);
        assert_eq!(readiness.missing(), ["api"]);
    }
}
