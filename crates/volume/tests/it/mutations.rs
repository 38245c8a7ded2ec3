//! Files of every format with bytes changed, cut or made huge: each is read or refused, and nothing
//! panics. With `CROSSMOD_FUZZ_SECONDS` set the test goes on for that long; run it with a bound on
//! memory (`ulimit -v`) to see that none is taken on a header's word.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use crossmod_volume::{
    io::{DicomOptions, read_grid, read_image, read_image_with, read_labels},
    rng::Rng,
};
use serde::Deserialize;

/// Larger files would only slow this down.
const MOST: u64 = 300_000;

#[derive(Deserialize)]
struct Golden {
    #[serde(default)]
    name: String,
    #[serde(default)]
    file: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

/// Names and contents: those of the goldens and, where there is test data, of other programs.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let bytes = |hex: &str| -> Vec<u8> {
        let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(byte).collect()
    };
    let mut seeds = Vec::new();
    for text in [
        include_str!("../../testdata/nifti_files.json"),
        include_str!("../../testdata/mgh_files.json"),
        include_str!("../../testdata/meta_files.json"),
        include_str!("../../testdata/nrrd_files.json"),
    ] {
        let goldens: Vec<Golden> = serde_json::from_str(text).expect("the goldens");
        for golden in goldens {
            if !golden.file.is_empty() {
                seeds.push((format!("{}.nrrd", golden.name), bytes(&golden.file)));
            }
            seeds.extend(golden.files.iter().map(|(n, hex)| (n.clone(), bytes(hex))));
        }
    }
    let mut folders: Vec<PathBuf> = std::env::var_os("CROSSMOD_TEST_DATA")
        .map(|data| PathBuf::from(data).join("readers"))
        .into_iter()
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.metadata().is_ok_and(|m| m.len() < MOST) {
                let name = entry.file_name().to_string_lossy().into_owned();
                seeds.push((name, fs::read(&path).expect("a file")));
            }
        }
    }
    seeds
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(6) {
        // Headers are at the beginning.
        let span = if !rng.bits().is_multiple_of(3) {
            bytes.len().min(1200)
        } else {
            bytes.len()
        };
        let at = rng.below(span);
        match rng.below(8) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.bits() as u8;
                }
            }
            3 | 4 => {
                let huge = [
                    0xffff_ffff,
                    0x7fff_ffff,
                    0x8000_0000,
                    0,
                    0x0001_0000,
                    0x7f80_0000u32,
                ];
                let huge = huge[rng.below(huge.len())];
                let huge = if rng.bits() & 1 == 1 {
                    huge.to_le_bytes()
                } else {
                    huge.to_be_bytes()
                };
                let width = 1 + rng.below(4);
                for (byte, new) in bytes[at..].iter_mut().zip(&huge[..width]) {
                    *byte = *new;
                }
            }
            5 => bytes.truncate(at),
            6 => {
                let end = (at + 1 + rng.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let end = (at + 1 + rng.below(64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = rng.below(bytes.len());
                bytes.splice(to..to, copy);
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

#[test]
fn changed_files_are_read_or_refused() {
    let seconds = std::env::var("CROSSMOD_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let end = seconds.map(|s| Instant::now() + Duration::from_secs(s));
    let start = std::env::var("CROSSMOD_FUZZ_SEED").ok();
    let seed = start.and_then(|text| text.parse().ok()).unwrap_or(0);
    let seeds = seeds();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = DicomOptions {
        resample_irregular: true,
        ..DicomOptions::default()
    };
    let mut round = 0u32;
    let (mut read, mut refused, mut slowest) = (0u64, 0u64, (Duration::ZERO, ""));
    loop {
        for (case, (name, bytes)) in seeds.iter().enumerate() {
            let mut rng = Rng::new(seed, case as u64, round);
            let mut bytes = bytes.clone();
            mutate(&mut bytes, &mut rng);
            let path = folder.path().join(name);
            fs::write(&path, &bytes).expect("a write");
            // What was being read, should the process end here.
            if seconds.is_some() {
                fs::write(std::env::temp_dir().join("crossmod-last-mutation"), &bytes)
                    .expect("a write");
            }
            let begin = Instant::now();
            let _ = read_grid(&path);
            let _ = read_labels(&path);
            let results = [
                read_image(&path),
                read_image_with(&path, &options).map(|r| r.0),
            ];
            slowest = slowest.max((begin.elapsed(), name.as_str()));
            for result in results {
                match result {
                    Ok(_) => read += 1,
                    Err(_) => refused += 1,
                }
            }
        }
        round += 1;
        if end.map_or(round == 2, |end| Instant::now() > end) {
            break;
        }
    }
    println!("{round} rounds, {read} read, {refused} refused, slowest {slowest:?}");
    assert!(read > 0 && refused > 0);
}
