//! Files for other programs to read: with `CROSSMOD_TEST_OUT` set to a folder beside the test data,
//! `testdata/read_back.py` says whether they find in them what was written.

use std::path::Path;

use crossmod_volume::{
    Labels,
    io::{
        DicomObject, DicomOptions, Dtype, Storage, read_image, read_labels, write_dicom_labels,
        write_image, write_labels,
    },
};

/// Blobs, a ring with a hole and single voxels, with values 1, 2 and 7.
fn shapes(labels: &mut Labels) {
    let [nx, ny, nz] = labels.grid().shape();
    for i in 0..labels.data().len() {
        let (x, y, z) = (i % nx, i / nx % ny, i / (nx * ny));
        let at = |cx: f64, cy: f64| {
            let (dx, dy) = (x as f64 / nx as f64 - cx, y as f64 / ny as f64 - cy);
            (dx * dx + dy * dy).sqrt()
        };
        let ring = (0.1..0.2).contains(&at(0.3, 0.35)) && z != 1;
        let blob = at(0.7, 0.6) < 0.12 + 0.02 * z as f64;
        let dots = z + 1 == nz && x % 7 == 3 && y % 5 == 2;
        labels.data_mut()[i] = match (ring, blob, dots) {
            (true, ..) => 1,
            (_, true, _) => 7,
            (.., true) => 2,
            _ => 0,
        };
    }
}

#[test]
fn files_for_others() {
    let (Some(data), Some(out)) = (
        std::env::var_os("CROSSMOD_TEST_DATA"),
        std::env::var_os("CROSSMOD_TEST_OUT"),
    ) else {
        println!("skipping files_for_others: CROSSMOD_TEST_DATA or CROSSMOD_TEST_OUT is not set");
        return;
    };
    let (readers, out) = (Path::new(&data).join("readers"), Path::new(&out));
    let names = [(1, "ring".to_owned()), (7, "blob".to_owned())].into();
    for (name, series) in [
        ("axial", "dcmqi_seg/ct-3slice"),
        ("sagittal", "dicom2nifti/siemens/anatomical/001"),
        ("oblique", "dicom2nifti/philips/anatomical/001"),
        ("enhanced", "dcmqi_seg/24x38x3/multiframe"),
        ("rt", "rt_utils/mock_data"),
    ] {
        let series = readers.join(series);
        let image = read_image(&series).expect(name);
        let values = vec![0; image.grid().len()];
        let mut labels = Labels::new(image.grid().clone(), values).expect("labels");
        shapes(&mut labels);
        let folder = out.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let place = folder.join("series.txt");
        std::fs::write(place, series.display().to_string()).expect("a write");
        let none = DicomOptions::default();
        for (file, object) in [
            ("seg.dcm", DicomObject::Segmentation),
            ("rtstruct.dcm", DicomObject::StructureSet),
        ] {
            let path = folder.join(file);
            write_dicom_labels(&path, &labels, &names, object, &series, &none).expect(name);
        }
        for file in ["l.nii.gz", "l.hdr", "l.nrrd", "l.mha", "l.mhd"] {
            write_labels(&folder.join(file), &labels).expect(file);
        }
        let storage = Storage {
            dtype: Dtype::I16,
            ..Storage::default()
        };
        for file in ["i.nii", "i.img.gz", "i.nrrd", "i.mha", "i.mhd"] {
            write_image(&folder.join(file), &image, &storage).expect(file);
        }
        let again = read_labels(&folder.join("seg.dcm")).expect("a segmentation of ours");
        let numbered = labels.data().iter().map(|&v| if v == 7 { 3 } else { v });
        assert!(again.data().iter().copied().eq(numbered), "{name}");
    }
}
