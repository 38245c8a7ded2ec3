use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crossmod_synth::offline::{Options, Shard, Written, write};
use crossmod_synth::sheet::{self, SheetOptions};
use crossmod_synth::{Error, Generator, LabelSource, Progress, Record, Result, Silent};
use crossmod_volume::dataset::{Dataset, Severity, check};
use crossmod_volume::io::{read_image, read_image_stored, read_labels};

use crate::trial::{files, generator, labels};

/// Asks to stop after so many images.
struct Stopping {
    left: usize,
    notes: Vec<String>,
}

impl Progress for Stopping {
    fn stage(&mut self, _: &str) {}
    fn update(&mut self, fraction: f64, _: &str) {
        assert!((0.0..=1.0).contains(&fraction));
        self.left -= 1;
    }
    fn note(&mut self, message: &str) {
        self.notes.push(message.to_owned());
    }
    fn cancelled(&self) -> bool {
        self.left == 0
    }
}

fn make(generator: &Generator, source: &LabelSource, out: &Path) -> Result<Written> {
    write(generator, source, out, &Options::default(), &mut Silent)
}

fn whole(generator: &Generator, source: &LabelSource) -> BTreeMap<String, Vec<u8>> {
    let out = tempfile::tempdir().expect("a temporary folder");
    let written = make(generator, source, out.path()).expect("images");
    assert_eq!(written, Written { made: 9, kept: 0 });
    files(out.path())
}

#[test]
fn a_folder_is_a_dataset_and_every_record_makes_its_image_again() {
    let (_folder, source) = labels();
    let out = tempfile::tempdir().expect("a temporary folder");
    make(&generator(&[]), &source, out.path()).expect("images");
    let found = files(out.path());
    // 9 images, labels and records, the recipe and the description.
    assert_eq!(found.len(), 29, "{:?}", found.keys());
    let dataset = Dataset::open(out.path()).expect("a dataset");
    assert_eq!((dataset.training.len(), dataset.num_training), (9, Some(9)));
    assert_eq!(dataset.channels, ["MR"]);
    let values: Vec<u16> = dataset.labels.keys().copied().collect();
    assert_eq!(values, [0, 1, 2]);
    let errors: Vec<_> = check(&dataset)
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");

    let mut images = Vec::new();
    for case in &source.cases {
        for number in 0..3 {
            let name = format!("{}_{number:02}", case.id);
            let text = &found[&format!("records/{name}.json")];
            let record: Record = serde_json::from_slice(text).expect("a record");
            assert_eq!(
                (record.case.as_str(), record.number),
                (case.id.as_str(), number)
            );
            let scene = source.scene(case).expect("a scene");
            let made = record.replay(scene).expect("the same image");
            let image = out.path().join(format!("imagesTr/{name}_0000.nii.gz"));
            let image = read_image(&image).expect("an image");
            let labels = out.path().join(format!("labelsTr/{name}.nii.gz"));
            assert_eq!(image.data(), made.image.data());
            assert_eq!(
                read_labels(&labels).expect("labels").data(),
                made.labels.data()
            );
            images.push(made.image);
        }
    }
    assert!((1..9).all(|i| images[i] != images[0]));
}

#[test]
fn shards_make_what_one_run_makes() {
    let (_folder, source) = labels();
    let generator = generator(&[]);
    let one = whole(&generator, &source);
    let shard = |number, out: &Path, threads| {
        let options = Options {
            shard: Some(Shard::new(number, 4).expect("a shard")),
            ..Options::default()
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| write(&generator, &source, out, &options, &mut Silent))
            .expect("images")
    };
    let together = tempfile::tempdir().expect("a temporary folder");
    let mut apart = BTreeMap::new();
    for number in 1..=4 {
        let out = tempfile::tempdir().expect("a temporary folder");
        let written = shard(number, out.path(), number);
        assert_eq!(written.made, if number == 1 { 3 } else { 2 });
        for (name, bytes) in files(out.path()) {
            let before = apart.insert(name.clone(), bytes.clone());
            assert!(before.is_none_or(|before| before == bytes), "{name}");
        }
        shard(number, together.path(), 3);
    }
    assert!(apart == one && files(together.path()) == one);
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_end() {
    let (_folder, source) = labels();
    let generator = generator(&[]);
    let one = whole(&generator, &source);
    let out = tempfile::tempdir().expect("a temporary folder");
    let stop = |left| {
        let mut progress = Stopping {
            left,
            notes: Vec::new(),
        };
        write(
            &generator,
            &source,
            out.path(),
            &Options::default(),
            &mut progress,
        )
    };
    assert!(matches!(stop(4), Err(Error::Interrupted { made: 4 })));
    assert_eq!(files(out.path()).len(), 4 * 3 + 2);
    assert!(matches!(stop(2), Err(Error::Interrupted { made: 2 })));
    // An image that was lost is made again, and one whose record was not yet written.
    for lost in ["imagesTr/case_0_01_0000.nii.gz", "records/case_0_02.json"] {
        fs::remove_file(out.path().join(lost)).expect("a file");
    }
    fs::write(out.path().join("imagesTr/case_0_02_0000.nii.gz"), "half").expect("a write");
    let written = make(&generator, &source, out.path()).expect("the rest");
    assert_eq!(written, Written { made: 5, kept: 4 });
    assert!(files(out.path()) == one);
    assert_eq!(
        make(&generator, &source, out.path())
            .expect("nothing left")
            .made,
        0
    );
    assert!(files(out.path()) == one);
}

#[test]
fn more_images_of_a_case_may_be_asked_for_later() {
    let (_folder, source) = labels();
    let out = tempfile::tempdir().expect("a temporary folder");
    make(&generator(&["count=2"]), &source, out.path()).expect("images");
    let written = make(&generator(&[]), &source, out.path()).expect("more images");
    assert_eq!(written, Written { made: 3, kept: 6 });
    assert!(files(out.path()) == whole(&generator(&[]), &source));
}

#[test]
fn some_images_are_of_as_many_cases_as_there_are() {
    let (_folder, source) = labels();
    let out = tempfile::tempdir().expect("a temporary folder");
    let options = Options {
        most: Some(4),
        ..Options::default()
    };
    let written =
        write(&generator(&[]), &source, out.path(), &options, &mut Silent).expect("images");
    assert_eq!(written.made, 4);
    let dataset = Dataset::open(out.path()).expect("a dataset");
    let ids: Vec<&str> = dataset
        .training
        .iter()
        .map(|case| case.id.as_str())
        .collect();
    assert_eq!(ids, ["case_0_00", "case_0_01", "case_1_00", "case_2_00"]);
    assert_eq!(dataset.num_training, Some(4));
}

#[test]
fn folders_of_other_recipes_and_of_others_are_left_alone() {
    let (_folder, source) = labels();
    let out = tempfile::tempdir().expect("a temporary folder");
    make(&generator(&[]), &source, out.path()).expect("images");
    let before = files(out.path());
    let refused = |overrides: &[&str]| {
        let error = make(&generator(overrides), &source, out.path()).expect_err("another recipe");
        error.to_string()
    };
    let message = refused(&["seed=9"]);
    assert!(message.contains("seed is 1 there and 9 here"), "{message}");
    assert!(message.ends_with("recipe.toml"), "{message}");
    let message = refused(&["bias.p=0.5"]);
    assert!(message.contains("step 2 (bias).p is"), "{message}");
    assert!(files(out.path()) == before);

    let other = tempfile::tempdir().expect("a temporary folder");
    fs::write(other.path().join("thesis.tex"), "x").expect("a write");
    let error = make(&generator(&[]), &source, other.path()).expect_err("not ours");
    assert!(error.to_string().contains("found other files"), "{error}");
    assert_eq!(files(other.path()).len(), 1);
}

/// Where labels cannot be written there is no record, and nothing but whole files.
#[test]
fn a_failed_write_leaves_nothing_half_made() {
    let (_folder, source) = labels();
    let out = tempfile::tempdir().expect("a temporary folder");
    let taken = out.path().join("labelsTr/case_1_00.nii.gz");
    make(&generator(&["count=1"]), &source, out.path()).expect("images");
    for gone in ["records/case_1_00.json", "labelsTr/case_1_00.nii.gz"] {
        fs::remove_file(out.path().join(gone)).expect("a file");
    }
    fs::create_dir(&taken).expect("a folder");
    fs::write(taken.join("thesis.tex"), "x").expect("a write");
    let error = make(&generator(&["count=1"]), &source, out.path()).expect_err("no place");
    assert!(error.to_string().ends_with("case_1_00.nii.gz"), "{error}");
    let names: Vec<String> = files(out.path()).into_keys().collect();
    assert!(
        !names.contains(&"records/case_1_00.json".to_owned()),
        "{names:?}"
    );
    assert!(names.iter().all(|name| !name.contains("tmp")), "{names:?}");
    fs::remove_dir_all(&taken).expect("the folder");
    assert_eq!(
        make(&generator(&["count=1"]), &source, out.path())
            .expect("a way")
            .made,
        1
    );
}

#[test]
fn ct_is_kept_in_whole_hounsfield_units() {
    let (_folder, source) = labels();
    let out = tempfile::tempdir().expect("a temporary folder");
    make(&generator(&["channel=CT", "count=1"]), &source, out.path()).expect("images");
    let path = out.path().join("imagesTr/case_0_00_0000.nii.gz");
    let (image, storage) = read_image_stored(&path).expect("an image");
    assert_eq!(storage.dtype, crossmod_volume::io::Dtype::I16);
    assert!(image.data().iter().all(|v| v.fract() == 0.0));
    assert_eq!(
        Dataset::open(out.path()).expect("a dataset").channels,
        ["CT"]
    );
}

#[test]
fn a_sheet_shows_an_image_in_each_place() {
    let (folder, source) = labels();
    let path = folder.path().join("sheet.png");
    let options = SheetOptions {
        slices: 7,
        columns: 4,
        side: 32,
        contours: true,
    };
    let mut progress = Stopping {
        left: 8,
        notes: Vec::new(),
    };
    sheet::write(&generator(&[]), &source, &path, &options, &mut progress).expect("a sheet");
    assert_eq!(progress.left, 1);
    let decoder = png::Decoder::new(std::io::BufReader::new(
        fs::File::open(&path).expect("a file"),
    ));
    let mut reader = decoder.read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let frame = reader.next_frame(&mut pixels).expect("pixels");
    assert_eq!((frame.width, frame.height), (4 * 34 - 2, 2 * 34 - 2));
    let filled = |row: usize, column: usize| {
        let line = ((row * 34 + 16) * frame.width as usize + column * 34) * 3;
        pixels[line..line + 32 * 3].iter().any(|&v| v > 0)
    };
    assert!((0..7).all(|i| filled(i / 4, i % 4)) && !filled(1, 3));
    let none = SheetOptions {
        slices: 0,
        ..options
    };
    assert!(sheet::write(&generator(&[]), &source, &path, &none, &mut Silent).is_err());
}
