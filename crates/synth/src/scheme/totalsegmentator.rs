//! TotalSegmentator's values: the 117 structures of its task `total`, version 2.
//!
//! Wasserthal et al., Radiology: Artificial Intelligence 5:e230024, 2023, doi:10.1148/ryai.230024; the
//! numbering is that of the program's documentation (version 2). Sides and classes follow from the
//! names.

/// The structures but vertebrae and ribs, by value.
const NAMES: [(u16, &str); 69] = [
    (1, "spleen"),
    (2, "kidney_right"),
    (3, "kidney_left"),
    (4, "gallbladder"),
    (5, "liver"),
    (6, "stomach"),
    (7, "pancreas"),
    (8, "adrenal_gland_right"),
    (9, "adrenal_gland_left"),
    (10, "lung_upper_lobe_left"),
    (11, "lung_lower_lobe_left"),
    (12, "lung_upper_lobe_right"),
    (13, "lung_middle_lobe_right"),
    (14, "lung_lower_lobe_right"),
    (15, "esophagus"),
    (16, "trachea"),
    (17, "thyroid_gland"),
    (18, "small_bowel"),
    (19, "duodenum"),
    (20, "colon"),
    (21, "urinary_bladder"),
    (22, "prostate"),
    (23, "kidney_cyst_left"),
    (24, "kidney_cyst_right"),
    (25, "sacrum"),
    (51, "heart"),
    (52, "aorta"),
    (53, "pulmonary_vein"),
    (54, "brachiocephalic_trunk"),
    (55, "subclavian_artery_right"),
    (56, "subclavian_artery_left"),
    (57, "common_carotid_artery_right"),
    (58, "common_carotid_artery_left"),
    (59, "brachiocephalic_vein_left"),
    (60, "brachiocephalic_vein_right"),
    (61, "atrial_appendage_left"),
    (62, "superior_vena_cava"),
    (63, "inferior_vena_cava"),
    (64, "portal_vein_and_splenic_vein"),
    (65, "iliac_artery_left"),
    (66, "iliac_artery_right"),
    (67, "iliac_vena_left"),
    (68, "iliac_vena_right"),
    (69, "humerus_left"),
    (70, "humerus_right"),
    (71, "scapula_left"),
    (72, "scapula_right"),
    (73, "clavicula_left"),
    (74, "clavicula_right"),
    (75, "femur_left"),
    (76, "femur_right"),
    (77, "hip_left"),
    (78, "hip_right"),
    (79, "spinal_cord"),
    (80, "gluteus_maximus_left"),
    (81, "gluteus_maximus_right"),
    (82, "gluteus_medius_left"),
    (83, "gluteus_medius_right"),
    (84, "gluteus_minimus_left"),
    (85, "gluteus_minimus_right"),
    (86, "autochthon_left"),
    (87, "autochthon_right"),
    (88, "iliopsoas_left"),
    (89, "iliopsoas_right"),
    (90, "brain"),
    (91, "skull"),
    (116, "sternum"),
    (117, "costal_cartilages"),
    (26, "vertebrae_S1"),
];

/// The parts of the spine from below and how many vertebrae each has.
const SPINE: [(char, u16); 3] = [('L', 5), ('T', 12), ('C', 7)];

/// The first of the ribs, which few other datasets count to.
const RIBS: u16 = 92;

/// So many values are taken for its.
const ENOUGH: usize = 20;

/// Whether values that nobody named are likely these.
pub(super) fn alike(values: &[u16]) -> bool {
    let last = values.iter().max().copied().unwrap_or(0);
    values.len() >= ENOUGH && (RIBS..=117).contains(&last)
}

/// Every value and its name.
pub(super) fn names() -> std::collections::BTreeMap<u16, String> {
    let plain = NAMES.iter().map(|&(value, name)| (value, name.to_owned()));
    let vertebrae = SPINE
        .iter()
        .flat_map(|&(part, n)| (1..=n).rev().map(move |i| (part, i)));
    let vertebrae = (27..).zip(vertebrae.map(|(part, i)| format!("vertebrae_{part}{i}")));
    let ribs = ["left", "right"]
        .into_iter()
        .flat_map(|side| (1..=12).map(move |i: u16| format!("rib_{side}_{i}")));
    plain.chain(vertebrae).chain((RIBS..).zip(ribs)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabelScheme;

    #[test]
    fn every_value_is_named_once() {
        let names = names();
        let values: Vec<u16> = names.keys().copied().collect();
        assert_eq!(values, (1..=117).collect::<Vec<u16>>());
        for (value, name) in [
            (27, "vertebrae_L5"),
            (31, "vertebrae_L1"),
            (32, "vertebrae_T12"),
            (43, "vertebrae_T1"),
            (44, "vertebrae_C7"),
            (50, "vertebrae_C1"),
            (92, "rib_left_1"),
            (103, "rib_left_12"),
            (104, "rib_right_1"),
            (115, "rib_right_12"),
        ] {
            assert_eq!(names[&value], name);
        }
    }

    #[test]
    fn many_values_up_to_a_rib_are_taken_for_its() {
        let (scheme, told) = LabelScheme::guess((0..60).chain([99, 112]), None);
        assert_eq!(scheme, LabelScheme::totalsegmentator());
        assert!(told.contains("TotalSegmentator"), "{told}");
        for others in [
            (0..=21).collect::<Vec<u16>>(),
            (0..=150).collect(),
            vec![0, 1, 112],
        ] {
            let (scheme, _) = LabelScheme::guess(others, None);
            assert_eq!(scheme.of(5).name, "label 5");
        }
    }

    #[test]
    fn sides_mirror_each_other() {
        let scheme = LabelScheme::totalsegmentator();
        assert_eq!(scheme.of(2).mirror, Some(3));
        assert_eq!(scheme.of(2).class, scheme.of(3).class);
        assert_eq!(scheme.of(95).mirror, Some(107));
        assert_eq!(scheme.of(5).mirror, None);
    }
}
