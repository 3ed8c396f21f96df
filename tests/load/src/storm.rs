//! Changes while many proxies connect.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::changes::ENDPOINT_MOVES;
use crate::fleet::Fleet;
use crate::plan::{LIMIT, Plan};
use crate::rounds::Rounds;
use crate::target::Target;
use crate::usage::Usage;

/// So many more proxies connect at once, none of them of the first service, one of whose endpoints moves
/// all the time. What is counted is that endpoint, at those who were there before.
pub(crate) async fn storm_change(target: &Target, fleet: &Fleet, plan: &Plan) -> Result<Value> {
    let (settled, board) = (fleet.len(), Arc::clone(&fleet.board));
    let change = |moves: usize| ((ENDPOINT_MOVES.write)(50_000 + moves), (ENDPOINT_MOVES.goal)(moves));
    // The first write creates what the others change.
    let (write, goal) = change(0);
    Rounds::default().one(target, &board, &write, goal, settled).await?;
    board.quiet().await;

    let used = Usage::of(target.pid)?;
    let mut storm = Fleet::new(target.dialer.clone());
    let began = Instant::now();
    for number in 0..plan.storm {
        storm.add(target.newcomer(2_000_000 + number, plan.reachable));
    }
    let (mut rounds, mut moves) = (Rounds::default(), 0);
    while storm.board.configured.load(Ordering::SeqCst) < plan.storm {
        anyhow::ensure!(began.elapsed() < LIMIT, "the storm takes too long");
        moves += 1;
        let (write, goal) = change(moves);
        rounds.one(target, &board, &write, goal, settled).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_s = Usage::of(target.pid)?.cpu_s_since(used);
    storm.disconnect().await;
    let mut summary = rounds.summary(settled, cpu_s);
    summary["came"] = json!(plan.storm);
    summary["came_in_s"] = json!(seconds);
    summary["moves"] = json!(moves);
    tokio::time::timeout(LIMIT, board.quiet()).await?;
    Ok(summary)
}
