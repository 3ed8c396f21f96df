//! `rest-crud`: reading and writing resources over REST.

/// How many cases hold at least.
const FLOOR: usize = 18;

#[test]
fn rest_crud_cases_hold() {
    crate::rest::run("rest-crud", FLOOR);
}
