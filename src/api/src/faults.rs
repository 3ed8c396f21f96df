//! What could not be applied to connected proxies, and what they refused: of one Dataplane
//! (`…/dataplanes/{name}/_faults`), of one policy (`…/{policies}/{name}/_faults`), or all (`/faults`).

use model::{Key, Kind};
use serde::Serialize;

use crate::call::Call;
use crate::errors::Problem;
use crate::json;
use crate::routes::{Answer, Routes};
use crate::running::ProxyFault;

/// Body of the answer.
#[derive(Serialize)]
struct Body {
    total: usize,
    items: Vec<ProxyFault>,
}

/// Adds the routes; policies are those of `kinds`.
pub(crate) fn add(routes: &mut Routes, kinds: impl Iterator<Item = Kind>) {
    routes.get("/faults", |call| answer(call, |_, _| true));
    routes.get("/meshes/{mesh}/dataplanes/{name}/_faults", |call| {
        answer(call, |call, fault| fault.mesh == call.param("mesh") && fault.dataplane == call.param("name"))
    });
    for kind in kinds.filter(|kind| kind.is_policy) {
        let path = format!("/meshes/{{mesh}}/{}/{{name}}/_faults", kind.path);
        routes.get(&path, move |call| {
            answer(call, move |call, fault| {
                let key = Key::new(kind, call.param("mesh"), call.param("name"));
                fault.origins.iter().any(|origin| origin.is(&key))
            })
        });
    }
}

async fn answer(call: Call, concerns: impl Fn(&Call, &ProxyFault) -> bool) -> Answer {
    let Some(running) = &call.api.running else {
        return Err(Problem::unavailable("this control plane serves no proxies"));
    };
    let items: Vec<_> = running.faults().into_iter().filter(|fault| concerns(&call, fault)).collect();
    Ok(json::response(&Body { total: items.len(), items }))
}
