//! Encoding is the same in every process.

use std::process::Command;

use super::encode;
use crate::envoy::cluster::Cluster;
use crate::generators::outbound::{Endpoint, load_assignment};
use crate::proxy_config::ResourceType;

/// Set in the processes that only print what they encode.
const PRINT: &str = "XDS_PRINT_ENCODED";

fn encoded() -> String {
    let endpoint = |n: u8| Endpoint {
        address: format!("10.0.0.{n}"),
        port: 80,
        weight: 1,
        tags: (0..8).map(|i| (format!("tag-{i}"), format!("value-{n}"))).collect(),
        locality: None,
    };
    let endpoints: Vec<_> = (1..5).map(endpoint).collect();
    let assignment = encode(ResourceType::Endpoint, "a", &load_assignment("a", &endpoints));
    let cluster = encode(ResourceType::Cluster, "a", &Cluster { name: "a".to_owned(), ..Default::default() });
    format!("{} {}", assignment.hash, cluster.hash)
}

#[test]
fn several_processes_encode_alike() {
    let own = encoded();
    if std::env::var_os(PRINT).is_some() {
        println!("encoded: {own}");
        return;
    }
    for _ in 0..3 {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "encode::tests::several_processes_encode_alike", "--nocapture"])
            .env(PRINT, "1")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("encoded: {own}")), "{text}");
    }
}
