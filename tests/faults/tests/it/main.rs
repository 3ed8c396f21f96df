//! Real processes under faults: what clients were told holds.

#[ignore = "takes up to four minutes on a loaded machine: cargo test -p faults -- --ignored --nocapture"]
#[tokio::test(flavor = "multi_thread")]
async fn no_promise_is_broken_under_faults() -> anyhow::Result<()> {
    let seed = rand::random();
    let report = faults::run(faults::Plan { more_faults: 0, seed }).await?;
    println!(
        "{} operations, {} acknowledged writes, {} refused, {} unknown; {} of {} calls between workloads failed {:?}",
        report.operations,
        report.written,
        report.refused,
        report.unknown,
        report.failed_calls.len(),
        report.calls,
        report.skipped,
    );
    let replay = format!("cargo run -p faults -- --more 0 --seed {seed}");
    assert_eq!(report.wrong, Vec::<String>::new(), "{replay}");
    Ok(())
}
