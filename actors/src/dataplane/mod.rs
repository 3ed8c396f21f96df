//! The actor of one connected proxy.

mod actor;
mod exchange_log;
mod inquiry;
mod refusals;
mod travel;
mod verify;

pub(crate) use actor::DataplaneActor;
pub(crate) use exchange_log::ExchangeLog;
