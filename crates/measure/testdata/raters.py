"""Makes raters.json: what surface-distance measures between the two raters of hn_ct_masks.

    python raters.py hn_ct_masks

With surface-distance-based-measures 0.1 and SimpleITK 2.5.7. The oncologist is the truth.
"""

import json
import sys
from pathlib import Path

import SimpleITK
import surface_distance as sd


def read(path):
    image = SimpleITK.ReadImage(str(path))
    return SimpleITK.GetArrayFromImage(image) > 0, image.GetSpacing()[::-1]


rows = []
for case in sorted(Path(sys.argv[1]).iterdir()):
    for truth in sorted((case / "oncologist").glob("*.nrrd")):
        reference, spacing = read(truth)
        prediction, _ = read(case / "radiographer" / truth.name)
        found = sd.compute_surface_distances(reference, prediction, spacing)
        to_prediction, to_truth = sd.compute_average_surface_distance(found)
        rows.append({
            "case": case.name,
            "organ": truth.stem,
            "dice": float(sd.compute_dice_coefficient(reference, prediction)),
            "hausdorff_mm": float(sd.compute_robust_hausdorff(found, 100)),
            "hd95_mm": float(sd.compute_robust_hausdorff(found, 95)),
            "truth_to_prediction_mm": float(to_prediction),
            "prediction_to_truth_mm": float(to_truth),
            "nsd": float(sd.compute_surface_dice_at_tolerance(found, 1.0)),
        })
        print(rows[-1], file=sys.stderr, flush=True)

text = ",\n".join(json.dumps(row) for row in rows)
Path(__file__).with_name("raters.json").write_text(f"[\n{text}\n]\n")
