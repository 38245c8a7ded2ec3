//! Numbers that others computed, kept in `testdata/` beside the scripts that made them.

use std::path::Path;

use serde_json::Value;

/// A file of `testdata/`.
pub(crate) fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    let text = std::fs::read_to_string(&path).expect("a file of testdata");
    serde_json::from_str(&text).expect("JSON")
}
