//! `rest-inspect`: what the API tells of proxies, policies and services.

/// How many cases hold at least.
const FLOOR: usize = 30;

#[test]
fn rest_inspect_cases_hold() {
    crate::rest::run("rest-inspect", FLOOR);
}
