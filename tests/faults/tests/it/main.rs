//! Real processes under faults: what clients were told holds.

use faults::{Fault, Plan};

/// A run, which must break no promise and stop no traffic between workloads.
async fn bear(plan: Plan, again: &str) -> anyhow::Result<()> {
    let seed = plan.seed;
    let report = faults::run(plan).await?;
    println!("{report}");
    let replay = format!("cargo run -p faults -- {again} --seed {seed}");
    assert_eq!(report.wrong, Vec::<String>::new(), "{replay}");
    assert_eq!(report.failed_calls, Vec::<String>::new(), "{replay}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_promise_is_broken_under_one_fault_of_each_sort() -> anyhow::Result<()> {
    bear(Plan::short(4), "--short").await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_promise_is_broken_when_what_is_cut_is_lost_without_a_word() -> anyhow::Result<()> {
    if let Err(why) = faults::namespaces_are_possible() {
        println!("faults between namespaces: skipped: {why:#}");
        return Ok(());
    }
    let faults = vec![Fault::KillLeader, Fault::IsolateLeader, Fault::HalfWires, Fault::Snapshot];
    bear(
        Plan { faults, namespaces: true, ..Plan::short(5) },
        "--namespaces --only kill-leader --only isolate-leader --only half-wires --only snapshot",
    )
    .await
}

#[ignore = "takes up to four minutes on a loaded machine: cargo test -p faults -- --ignored --nocapture"]
#[tokio::test(flavor = "multi_thread")]
async fn no_promise_is_broken_under_all_faults() -> anyhow::Result<()> {
    bear(Plan::long(0, rand::random()), "--more 0").await
}
