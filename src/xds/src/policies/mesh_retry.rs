//! MeshRetry: what is tried again.
//! Resource: Kuma `MeshRetry`. Touches: RouteAction.retry_policy, TcpProxy.max_connect_attempts.

mod conf;
mod retry_policy;

use model::{Kri, registry};

use super::{Edit, Policy};
use crate::envoy::UInt32Value;
use crate::envoy::route::{RetryPolicy, Route, route::Action};
use crate::protocol::Protocol;
use conf::Conf;

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_RETRY, edit };

fn edit(edit: &mut Edit<'_>) {
    for (destination, listener) in edit.set.outbound_listeners_mut() {
        let protocol = listener.protocol;
        let of_service = edit.faults.to::<Conf>(edit.rules.to.first_of(&[&destination]));
        if let Some(attempts) = of_service.as_ref().and_then(|conf| conf.tcp.as_ref()?.max_connect_attempt) {
            for proxy in listener.tcp_proxies_mut() {
                proxy.max_connect_attempts = Some(UInt32Value { value: attempts });
            }
        }
        for route in listener.routes_mut() {
            let own = route.name.parse::<Kri>().ok();
            let chain: Vec<_> = own.iter().chain([&destination]).collect();
            let Some(conf) = edit.faults.to::<Conf>(edit.rules.to.first_of(&chain)) else { continue };
            if let Some(policy) = policy(&conf, protocol).or_else(|| policy(of_service.as_deref()?, protocol)) {
                set_policy(route, policy);
            }
        }
    }
}

/// What a conf says for a protocol: `None` when nothing, `Some(None)` that nothing is tried again.
fn policy(conf: &Conf, protocol: Protocol) -> Option<Option<RetryPolicy>> {
    match protocol {
        Protocol::Http | Protocol::Http2 => conf.http.as_ref().map(retry_policy::http),
        Protocol::Grpc => conf.grpc.as_ref().map(retry_policy::grpc),
        Protocol::Unknown | Protocol::Tcp | Protocol::Tls | Protocol::Mysql => None,
    }
}

fn set_policy(route: &mut Route, policy: Option<RetryPolicy>) {
    if let Some(Action::Route(action)) = &mut route.action {
        action.retry_policy = policy;
    }
}

#[cfg(test)]
mod tests;
