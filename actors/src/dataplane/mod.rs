//! The actor of one connected proxy.

mod actor;
mod exchange_log;

pub(crate) use actor::DataplaneActor;
pub(crate) use exchange_log::ExchangeLog;
