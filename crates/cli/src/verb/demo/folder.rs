//! The demo's folder: made anew, or cleared of an earlier demo where that is asked for.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crossmod_learn::fit::write_json;
use crossmod_volume::Error;
use serde_json::Value;

use crate::error::Usage;

/// What the demo makes in its folder; all that is ever removed.
const MADE: [&str; 7] = [
    "study",
    "runs",
    "predictions",
    "translated",
    "metrics.json",
    "sheet.png",
    "report.html",
];

/// Marks a folder as a demo's, and says what was asked of it. Written first.
const MARK: &str = "demo.json";

/// Makes the folder. One that is not empty is refused, but for an earlier demo's with `force`:
/// what that made is removed, nothing else.
pub(super) fn make(out: &Path, force: bool, asked: &Value) -> anyhow::Result<()> {
    let filled = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io("read the folder", error, out).into()),
    };
    let mark = out.join(MARK);
    if filled {
        let found = match (mark.is_file(), force) {
            (true, true) => None,
            (true, false) => Some("an earlier demo; replace it with --force or choose another"),
            (false, _) => Some("something else; choose another"),
        };
        if let Some(found) = found {
            return Err(Usage::error(format!(
                "expected a new or empty folder, found {found} --out: {}",
                out.display()
            )));
        }
        for name in MADE {
            remove(&out.join(name))?;
        }
    }
    fs::create_dir_all(out).map_err(|e| Error::io("make the folder", e, out))?;
    Ok(write_json(&mark, asked)?)
}

fn remove(path: &Path) -> crossmod_volume::Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io("remove the earlier demo", error, path))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_demo_is_replaced_and_only_when_asked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (out, asked) = (folder.path().join("demo"), Value::Null);
        make(&out, false, &asked).expect("a new folder");
        fs::create_dir(out.join("runs")).expect("a writable folder");
        fs::write(out.join("mine.txt"), "x").expect("a writable folder");
        let said = make(&out, false, &asked).expect_err("refused").to_string();
        assert!(said.contains("--force"), "{said}");
        make(&out, true, &asked).expect("replaced");
        assert!(!out.join("runs").exists() && out.join("mine.txt").exists());
        fs::remove_file(out.join(MARK)).expect("there");
        let said = make(&out, true, &asked).expect_err("refused").to_string();
        assert!(said.contains("something else"), "{said}");
        assert!(out.join("mine.txt").exists());
    }
}
