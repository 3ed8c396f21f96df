//! Proxies come and go while an endpoint moves.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::changes::ENDPOINT_MOVES;
use crate::fleet::Fleet;
use crate::plan::{LIMIT, Plan};
use crate::rounds::Rounds;
use crate::target::Target;
use crate::usage::Usage;

/// Each second so many proxies leave and as many new ones come, none of them of the first service,
/// one of whose endpoints moves all the time. What is counted is that endpoint, at those who stay.
pub(crate) async fn churn(target: &Target, fleet: &mut Fleet, plan: &Plan) -> Result<Value> {
    let (staying, mut next) = (fleet.len(), fleet.len());
    let (mut rounds, board) = (Rounds::default(), Arc::clone(&fleet.board));
    let used = Usage::of(target.pid)?;
    let mut moves = 0;
    let mut coming = tokio::time::interval(Duration::from_millis(1000 / u64::try_from(plan.churn.clamp(1, 1000))?));
    let ends = tokio::time::Instant::now() + Duration::from_secs(plan.seconds);
    while tokio::time::Instant::now() < ends {
        moves += 1;
        let (write, goal) = ((ENDPOINT_MOVES.write)(10_000 + moves), (ENDPOINT_MOVES.goal)(moves));
        let spreading = rounds.one(target, &board, &write, goal, staying);
        tokio::pin!(spreading);
        loop {
            tokio::select! {
                spread = &mut spreading => {
                    spread?;
                    break;
                }
                _ = coming.tick() => {
                    fleet.add(target.newcomer(next, plan.reachable));
                    next += 1;
                    if fleet.len() > staying + plan.churn * 2 {
                        fleet.drop_one(staying);
                    }
                }
            }
        }
    }
    let cpu_s = Usage::of(target.pid)?.cpu_s_since(used);
    while fleet.len() > staying {
        fleet.drop_one(staying);
    }
    let mut summary = rounds.summary(staying, cpu_s);
    summary["came"] = json!(next - staying);
    summary["moves"] = json!(moves);
    summary["cpu_percent_of_a_core"] = json!(cpu_s * 100.0 / plan.seconds as f64);
    tokio::time::timeout(LIMIT, fleet.board.quiet()).await?;
    Ok(summary)
}
