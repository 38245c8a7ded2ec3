use std::collections::BTreeSet;

use super::*;

fn names(list: &[(u16, &str)]) -> BTreeMap<u16, String> {
    list.iter().map(|&(v, n)| (v, n.to_owned())).collect()
}

#[test]
fn names_say_sides_classes_and_mirrors() {
    let scheme = LabelScheme::named(&names(&[
        (1, "kidney_right"),
        (2, "kidney_left"),
        (3, "spleen"),
        (4, "left lobe"),
        (5, "left ventricle"),
        (6, "right ventricle"),
    ]));
    assert_eq!(
        (&scheme.of(1).class[..], scheme.of(1).mirror),
        ("kidney", Some(2))
    );
    assert_eq!(
        (&scheme.of(2).class[..], scheme.of(2).mirror),
        ("kidney", Some(1))
    );
    assert_eq!(
        (&scheme.of(3).class[..], scheme.of(3).mirror),
        ("spleen", None)
    );
    // No twin, so the side is part of what it is.
    assert_eq!(
        (&scheme.of(4).class[..], scheme.of(4).mirror),
        ("left lobe", None)
    );
    assert_eq!(
        (&scheme.of(5).class[..], scheme.of(5).mirror),
        ("left ventricle", None)
    );
    assert_eq!(scheme.of(0).name, "background");
    assert_eq!(scheme.of(6).target, 6);
}

/// The lists that come with SynthSeg's label maps: which values there are, their class numbers and
/// targets.
const PUBLISHED: [(u16, u16, u16); 54] = [
    (0, 0, 0),
    (14, 1, 14),
    (15, 2, 15),
    (16, 3, 16),
    (24, 4, 0),
    (72, 5, 0),
    (85, 6, 0),
    (502, 7, 0),
    (506, 8, 0),
    (507, 9, 0),
    (508, 10, 0),
    (509, 11, 0),
    (511, 12, 0),
    (512, 13, 0),
    (514, 14, 0),
    (515, 15, 0),
    (516, 16, 0),
    (530, 17, 0),
    (2, 18, 2),
    (3, 19, 3),
    (4, 20, 4),
    (5, 20, 5),
    (7, 21, 7),
    (8, 22, 8),
    (10, 23, 10),
    (11, 24, 11),
    (12, 25, 12),
    (13, 26, 13),
    (17, 27, 17),
    (18, 27, 18),
    (25, 28, 2),
    (26, 29, 26),
    (28, 30, 28),
    (30, 31, 0),
    (136, 32, 4),
    (137, 32, 5),
    (41, 33, 41),
    (42, 34, 42),
    (43, 35, 43),
    (44, 35, 44),
    (46, 36, 46),
    (47, 37, 47),
    (49, 38, 49),
    (50, 39, 50),
    (51, 40, 51),
    (52, 41, 52),
    (53, 42, 53),
    (54, 42, 54),
    (57, 43, 41),
    (58, 44, 58),
    (60, 45, 60),
    (62, 46, 0),
    (163, 47, 43),
    (164, 47, 44),
];

#[test]
fn freesurfer_has_the_published_classes_and_targets() {
    let scheme = LabelScheme::freesurfer();
    for (value, class, target) in PUBLISHED {
        assert!(scheme.structures.contains_key(&value), "{value}");
        assert_eq!(scheme.of(value).target, target, "{value}");
        for (other, its_class, _) in PUBLISHED {
            let alike = scheme.of(value).class == scheme.of(other).class;
            assert_eq!(alike, class == its_class, "{value} {other}");
        }
    }
}

#[test]
fn mirrors_of_freesurfer_are_mutual_and_of_the_same_kind() {
    let scheme = LabelScheme::freesurfer();
    let mut pairs = 0;
    for (&value, structure) in scheme.structures() {
        let Some(mirror) = structure.mirror else {
            continue;
        };
        let other = scheme.of(mirror);
        assert_eq!(other.mirror, Some(value));
        let bare = |name: &str| name.split_once(' ').map(|(_, rest)| rest.to_owned());
        assert_eq!(bare(&structure.name), bare(&other.name), "{value}");
        assert_eq!(bare(&structure.class), bare(&other.class), "{value}");
        let target = scheme.of(structure.target);
        assert_eq!(
            target.mirror.unwrap_or(structure.target),
            other.target,
            "{value}"
        );
        pairs += 1;
    }
    assert_eq!(pairs, 2 * (19 + 36));
}

#[test]
fn a_guess_takes_names_first_and_freesurfer_only_for_its_values() {
    let brain: Vec<u16> = PUBLISHED.iter().map(|row| row.0).collect();
    let (scheme, told) = LabelScheme::guess(brain.iter().copied(), None);
    assert_eq!(scheme, LabelScheme::freesurfer());
    assert!(told.contains("FreeSurfer"), "{told}");
    let (scheme, told) = LabelScheme::guess([0, 2, 3, 4], None);
    assert_eq!(scheme.of(2).class, "label 2");
    assert!(told.contains("without names: 4"), "{told}");
    let (scheme, _) = LabelScheme::guess(brain.into_iter().chain([9999]), None);
    assert_eq!(scheme.of(41).mirror, None);
    let known = names(&[(0, "background"), (1, "eye l"), (2, "eye r")]);
    let (scheme, told) = LabelScheme::guess([0, 1, 2, 7], Some(&known));
    assert_eq!(scheme.of(1).mirror, Some(2));
    assert!(scheme.structures().contains_key(&7));
    assert!(told.contains("1 left-right pairs"), "{told}");
}

#[test]
fn files_are_checked() {
    let message = |text: &str| LabelScheme::parse(text).map_err(|e| e.to_string());
    let two = |more: &str| {
        let text = format!(
            "[[label]]\nvalue = 1\nname = \"a\"\n{more}\n[[label]]\nvalue = 2\nname = \"b\""
        );
        message(&text)
    };
    let scheme = two("mirror = 2\ntarget = 9").expect("a scheme");
    assert_eq!(scheme.of(2).mirror, Some(1));
    assert_eq!((scheme.of(1).target, scheme.of(2).target), (9, 2));
    let wrong = two("mirror = 3");
    assert!(
        wrong.as_ref().is_err_and(|e| e.contains("the mirror of 1")),
        "{wrong:?}"
    );
    let wrong = two("mirror = 2\n[[label]]\nvalue = 3\nname = \"c\"\nmirror = 2");
    assert!(
        wrong
            .as_ref()
            .is_err_and(|e| e.contains("whose mirror it is")),
        "{wrong:?}"
    );
    let wrong = message("[[label]]\nvalue = 1\nname = \"a\"\n[[label]]\nvalue = 1\nname = \"b\"");
    assert!(
        wrong.as_ref().is_err_and(|e| e.contains("1 twice")),
        "{wrong:?}"
    );
    assert!(two("colour = 3").is_err_and(|e| e.contains("label scheme")));
}

/// The real maps, where they are.
#[test]
fn synthsegs_label_maps_are_known() {
    let Some(data) = std::env::var_os("CROSSMOD_TEST_DATA") else {
        eprintln!("skipped: CROSSMOD_TEST_DATA is not set");
        return;
    };
    let path = Path::new(&data).join("synthseg_labels/training_seg_01.nii.gz");
    let labels = crossmod_volume::io::read_labels(&path).expect("a label map");
    let values: BTreeSet<u16> = labels.counts().into_keys().collect();
    let (scheme, told) = LabelScheme::guess(values, None);
    assert_eq!(scheme, LabelScheme::freesurfer(), "{told}");
}
