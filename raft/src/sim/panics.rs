//! Panics of simulated replicas: counted, not printed.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    /// What panicked on this thread while [`caught`] ran.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs `work`, and tells which tasks on this thread panicked meanwhile.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_caught = PANICS.with_borrow_mut(|panics| {
                panics.as_mut().map(|panics| panics.push(format!("a replica panicked: {panic}"))).is_some()
            });
            if !is_caught {
                usual(panic);
            }
        }));
    });
    PANICS.set(Some(Vec::new()));
    let result = work();
    (result, PANICS.take().unwrap_or_default())
}
