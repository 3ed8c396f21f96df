//! The difference of two JSON documents as operations of RFC 6902, in the shape in which Kuma shows
//! it: a changed value is removed and added, an element that is put into a list moves the others.
//!
//! Lists are compared by their longest common subsequence; between common elements, containers of one
//! type that stand at the same place are compared in depth.

use serde::Serialize;
use serde_json::Value;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OpKind {
    /// The value at the path goes.
    Remove,
    /// The value comes to the path.
    Add,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiffOp {
    /// What it does.
    pub op: OpKind,
    /// JSON pointer (RFC 6901).
    pub path: String,
    /// The value that goes or comes.
    pub value: Value,
}

/// The operations that turn `from` into `to`, in the order in which they can be applied.
pub fn diff(from: &Value, to: &Value) -> Vec<DiffOp> {
    let mut ops = Vec::new();
    compare("", from, to, &mut ops);
    ops
}

fn op(op: OpKind, path: &str, value: &Value) -> DiffOp {
    DiffOp { op, path: path.to_owned(), value: value.clone() }
}

fn compare(path: &str, from: &Value, to: &Value, ops: &mut Vec<DiffOp>) {
    if from == to {
        return;
    }
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => {
            for (key, value) in from {
                let path = format!("{path}/{}", escaped(key));
                match to.get(key) {
                    Some(other) => compare(&path, value, other, ops),
                    None => ops.push(op(OpKind::Remove, &path, value)),
                }
            }
            for (key, value) in to.iter().filter(|(key, _)| !from.contains_key(*key)) {
                ops.push(op(OpKind::Add, &format!("{path}/{}", escaped(key)), value));
            }
        }
        (Value::Array(from), Value::Array(to)) => compare_lists(path, from, to, ops),
        (from, to) => ops.extend([op(OpKind::Remove, path, from), op(OpKind::Add, path, to)]),
    }
}

/// A key as it stands in a pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn is_same_container(a: &Value, b: &Value) -> bool {
    matches!((a, b), (Value::Object(_), Value::Object(_)) | (Value::Array(_), Value::Array(_)))
}

/// A stretch of a list that was replaced as a whole.
#[derive(Default)]
struct Stretch<'a> {
    at: usize,
    removed: Vec<&'a Value>,
    added: Vec<&'a Value>,
}

impl Stretch<'_> {
    /// Ends the stretch; the next one starts at `at`.
    fn flush(&mut self, path: &str, at: usize, ops: &mut Vec<DiffOp>) {
        let place = format!("{path}/{}", self.at);
        ops.extend(self.removed.drain(..).map(|value| op(OpKind::Remove, &place, value)));
        // Each addition moves the ones before it behind itself.
        ops.extend(self.added.drain(..).rev().map(|value| op(OpKind::Add, &place, value)));
        self.at = at;
    }
}

fn compare_lists(path: &str, from: &[Value], to: &[Value], ops: &mut Vec<DiffOp>) {
    let common = common_subsequence(from, to);
    let mut common = common.into_iter().peekable();
    let (mut i, mut j) = (0, 0);
    let mut stretch = Stretch::default();
    while i < from.len() || j < to.len() {
        let (a, b) = common.peek().copied().unwrap_or((from.len(), to.len()));
        if i == a && j == b {
            common.next();
            (i, j) = (i + 1, j + 1);
            stretch.flush(path, j, ops);
        } else if i == a {
            stretch.added.push(&to[j]);
            j += 1;
        } else if j == b {
            stretch.removed.push(&from[i]);
            i += 1;
        } else if is_same_container(&from[i], &to[j]) {
            stretch.flush(path, j, ops);
            compare(&format!("{path}/{j}"), &from[i], &to[j], ops);
            (i, j) = (i + 1, j + 1);
            stretch.at = j;
        } else {
            stretch.removed.push(&from[i]);
            stretch.added.push(&to[j]);
            (i, j) = (i + 1, j + 1);
        }
    }
    stretch.flush(path, j, ops);
}

/// The places of a longest common subsequence in both lists.
fn common_subsequence(from: &[Value], to: &[Value]) -> Vec<(usize, usize)> {
    let mut lengths = vec![vec![0_usize; to.len() + 1]; from.len() + 1];
    for i in (0..from.len()).rev() {
        for j in (0..to.len()).rev() {
            lengths[i][j] =
                if from[i] == to[j] { lengths[i + 1][j + 1] + 1 } else { lengths[i + 1][j].max(lengths[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut places = Vec::new();
    while i < from.len() && j < to.len() {
        if from[i] == to[j] {
            places.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn lines(from: &Value, to: &Value) -> Vec<String> {
        diff(from, to).iter().map(|op| format!("{:?} {} {}", op.op, op.path, op.value)).collect()
    }

    #[test]
    fn fields_are_added_removed_and_changed() {
        let ops = lines(&json!({"a": 1, "b/c": 2, "d": {"e": [1]}}), &json!({"a": 3, "d": {"e": [1], "f": 4}}));
        assert_eq!(ops, ["Remove /a 1", "Add /a 3", "Remove /b~1c 2", "Add /d/f 4"]);
    }

    #[test]
    fn elements_that_are_put_into_a_list_leave_the_others_alone() {
        assert_eq!(
            lines(&json!([{"r": 1}]), &json!([{"x": 1}, {"y": 2}, {"r": 1}])),
            [r#"Add /0 {"y":2}"#, r#"Add /0 {"x":1}"#,]
        );
        assert_eq!(lines(&json!([1, 2]), &json!([1, 2, 3])), ["Add /2 3"]);
        assert_eq!(lines(&json!([1, 2, 3]), &json!([3])), ["Remove /0 1", "Remove /0 2"]);
    }

    #[test]
    fn containers_at_one_place_are_compared_in_depth() {
        assert_eq!(lines(&json!([{"t": 0, "u": 1}]), &json!([{"t": 2, "u": 1}])), ["Remove /0/t 0", "Add /0/t 2"]);
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..4_u8).prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c/~]", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_the_other_document(from in document(), to in document()) {
            // A value at the root cannot be removed, so documents differ below it.
            let (from, to) = (json!({"root": from}), json!({"root": to}));
            let ops: Vec<Value> = diff(&from, &to)
                .iter()
                .map(|op| json!({"op": op.op, "path": op.path, "value": op.value}))
                .collect();
            let patch: json_patch::Patch = serde_json::from_value(Value::from(ops)).expect("a patch");
            let mut patched = from;
            json_patch::patch(&mut patched, &patch).expect("applies");
            prop_assert_eq!(patched, to);
        }
    }
}
