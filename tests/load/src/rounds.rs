//! Rounds of a change: how it spreads, and what it costs.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::changes::{Change, SERVICE_ADDED, SERVICE_REMOVED, Write};
use crate::measure::{Board, Goal, percentiles};
use crate::plan::LIMIT;
use crate::target::Target;
use crate::usage::Usage;

/// Histogram of what each hop takes.
const HOPS: &str = "xds_propagation_hop_seconds";

/// What the rounds of one change have shown so far.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    first: Vec<Duration>,
    last: Vec<Duration>,
    written: Vec<Duration>,
    /// Bytes that a proxy got for the change.
    pub(crate) bytes: u64,
    others: usize,
}

impl Rounds {
    /// One round: the change is written, and has reached `concerned` proxies.
    pub(crate) async fn one(
        &mut self,
        target: &Target,
        board: &Board,
        write: &Write,
        goal: Goal,
        concerned: usize,
    ) -> Result<()> {
        board.begin(goal, concerned);
        let writing = async {
            let began = Instant::now();
            target.write(write).await.map(|()| began.elapsed())
        };
        let (written, spread) = tokio::join!(writing, board.until_reached(LIMIT));
        let (written, spread) = (written?, spread?);
        self.written.push(written);
        self.first.push(spread.first);
        self.last.push(spread.last);
        Ok(())
    }

    /// One round, and what came of it in all.
    async fn whole(
        &mut self,
        target: &Target,
        board: &Board,
        write: &Write,
        goal: Goal,
        concerned: usize,
    ) -> Result<()> {
        let before = board.bytes.load(Ordering::SeqCst);
        self.one(target, board, write, goal, concerned).await?;
        board.quiet().await;
        self.others = self.others.max(board.woken().saturating_sub(concerned));
        self.bytes = (board.bytes.load(Ordering::SeqCst) - before) / concerned.max(1) as u64;
        Ok(())
    }

    /// The results, beside what the control plane used meanwhile.
    pub(crate) fn summary(mut self, concerned: usize, cpu_s: f64) -> Value {
        let rounds = self.last.len().max(1) as f64;
        json!({
            "proxies": concerned,
            "others_reached": self.others,
            "bytes_per_proxy": self.bytes,
            "write_ms": percentiles(&mut self.written),
            "first_ack_ms": percentiles(&mut self.first),
            "last_ack_ms": percentiles(&mut self.last),
            "cpu_ms_per_round": (cpu_s * 1e6 / rounds).round() / 1e3,
        })
    }
}

/// Makes a change `rounds` times; the summary, and how many bytes a proxy got for one.
pub(crate) async fn rounds(
    target: &Target,
    board: &Board,
    change: Change,
    concerned: usize,
    rounds: usize,
) -> Result<(Value, u64)> {
    // The first write creates what the others change.
    let goal = (change.goal)(0);
    Rounds::default().whole(target, board, &(change.write)(0), goal, concerned).await?;
    let mut seen = Rounds::default();
    let hops = target.histogram(HOPS, "hop").await?;
    let used = Usage::of(target.pid)?;
    for round in 1..=rounds {
        seen.whole(target, board, &(change.write)(round), (change.goal)(round), concerned).await?;
    }
    let cpu_s = Usage::of(target.pid)?.cpu_s_since(used);
    let bytes = seen.bytes;
    let mut summary = seen.summary(concerned, cpu_s);
    summary["hop_ms_mean"] = means(&hops, &target.histogram(HOPS, "hop").await?);
    Ok((summary, bytes))
}

/// A service comes and goes `rounds` times; the summaries of both, and the bytes of its coming.
pub(crate) async fn service(
    target: &Target,
    board: &Board,
    concerned: usize,
    rounds: usize,
) -> Result<(Value, Value, u64)> {
    let mut seen = [(SERVICE_ADDED, Rounds::default(), 0.0), (SERVICE_REMOVED, Rounds::default(), 0.0)];
    for round in 0..rounds {
        for (change, rounds, cpu_s) in &mut seen {
            let used = Usage::of(target.pid)?;
            rounds.whole(target, board, &(change.write)(round), (change.goal)(round), concerned).await?;
            *cpu_s += Usage::of(target.pid)?.cpu_s_since(used);
        }
    }
    let [(_, added, added_cpu), (_, removed, removed_cpu)] = seen;
    let bytes = added.bytes;
    Ok((added.summary(concerned, added_cpu), removed.summary(concerned, removed_cpu), bytes))
}

/// The mean of a histogram between two looks, in milliseconds, by label.
fn means(before: &BTreeMap<String, (f64, f64)>, after: &BTreeMap<String, (f64, f64)>) -> Value {
    let mean = |(label, (sum, count)): (&String, &(f64, f64))| {
        let (old_sum, old_count) = before.get(label).copied().unwrap_or_default();
        let mean_ms = (sum - old_sum) / (count - old_count) * 1000.0;
        mean_ms.is_finite().then(|| (label.clone(), json!((mean_ms * 1000.0).round() / 1000.0)))
    };
    Value::Object(after.iter().filter_map(mean).collect())
}
