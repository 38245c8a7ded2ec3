"""Makes metrics.json: label pairs, and what surface-distance, MONAI and MedPy measure of them; image
pairs, and what scikit-image measures.

    python metrics.py

With surface-distance-based-measures 0.1, MONAI 1.6.1, MedPy 0.5.2, scikit-image 0.26.0,
NumPy 2.4.6, SciPy 1.17.1. Arrays are [z][y][x], as volumes are stored here.
"""

import json
from pathlib import Path

import numpy as np
import surface_distance as sd
import torch
from medpy.metric import binary as medpy
from monai import metrics as monai
from scipy import ndimage
from skimage import metrics as skimage
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

rng = np.random.default_rng(11)


def blob(shape, seed, share, sigma=1.5):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return noise > np.quantile(noise, 1 - share)


def ellipsoid(shape, centre, radii):
    at = np.indices(shape)
    return sum(((a - c) / r) ** 2 for a, c, r in zip(at, centre, radii)) <= 1


def clean(value):
    return float(value) if np.isfinite(value) else None


def measured(truth, prediction, spacing):
    """Each library's numbers; spacing is in the order of the array's axes."""
    found = sd.compute_surface_distances(truth, prediction, spacing)
    to_prediction, to_truth = sd.compute_average_surface_distance(found)
    one = lambda a: torch.from_numpy(a[None, None].astype(np.float32))
    p, t = one(prediction), one(truth)
    monai_of = {
        "hausdorff_mm": monai.compute_hausdorff_distance(p, t, True, spacing=spacing),
        "hd95_mm": monai.compute_hausdorff_distance(p, t, True, percentile=95, spacing=spacing),
        "assd_mm": monai.compute_average_surface_distance(
            p, t, True, symmetric=True, spacing=spacing
        ),
        "nsd": monai.compute_surface_dice(p, t, [1.5], include_background=True, spacing=spacing),
        "dice": monai.compute_dice(p, t, True),
        "iou": monai.compute_iou(p, t, True),
    }
    return {
        "surface-distance": {
            "hausdorff_mm": clean(sd.compute_robust_hausdorff(found, 100)),
            "hd95_mm": clean(sd.compute_robust_hausdorff(found, 95)),
            "truth_to_prediction_mm": clean(to_prediction),
            "prediction_to_truth_mm": clean(to_truth),
            "nsd": clean(sd.compute_surface_dice_at_tolerance(found, 1.5)),
            "dice": clean(sd.compute_dice_coefficient(truth, prediction)),
            "truth_mm2": float(found["surfel_areas_gt"].sum()),
            "prediction_mm2": float(found["surfel_areas_pred"].sum()),
        },
        "monai": {key: clean(float(value)) for key, value in monai_of.items()},
        "medpy": {
            "hausdorff_mm": clean(medpy.hd(prediction, truth, spacing)),
            "prediction_to_truth_mm": clean(medpy.asd(prediction, truth, spacing)),
            "truth_to_prediction_mm": clean(medpy.asd(truth, prediction, spacing)),
            "dice": clean(medpy.dc(prediction, truth)),
            "iou": clean(medpy.jc(prediction, truth)),
            "precision": clean(medpy.precision(prediction, truth)),
            "recall": clean(medpy.recall(prediction, truth)),
            "volume_error": clean(medpy.ravd(prediction, truth)),
        },
    }


def pair(name, truth, prediction, spacing_zyx):
    flat = truth.ndim == 2
    shape = ([1] if flat else []) + list(truth.shape)
    spacing = ([1.0] if flat else []) + list(spacing_zyx)
    runs = lambda a: "".join(map(str, a.astype(int).ravel()))
    return {
        "name": name,
        "shape": shape[::-1],
        "spacing_mm": spacing[::-1],
        "truth": runs(truth),
        "prediction": runs(prediction),
        **measured(truth, prediction, tuple(spacing_zyx)),
    }


shape = (9, 14, 16)
pairs = [
    pair("ellipsoids", ellipsoid(shape, (4, 7, 7), (3, 5, 6)),
         ellipsoid(shape, (4.5, 7.5, 8), (3.4, 4, 5)), (2.5, 0.9, 0.7)),
    pair("blobs", blob(shape, 1, 0.3), blob(shape, 2, 0.25), (3.0, 0.8, 1.1)),
    pair("speckles", rng.random((6, 9, 10)) < 0.4, rng.random((6, 9, 10)) < 0.4, (1.9, 1.0, 0.6)),
    pair("far apart", ellipsoid(shape, (2, 3, 3), (2, 3, 3)),
         ellipsoid(shape, (6, 10, 12), (2, 2, 3)), (5.0, 1.0, 1.0)),
    pair("to the border", np.ones((4, 5, 6), bool), blob((4, 5, 6), 3, 0.6), (2.0, 1.2, 1.0)),
    pair("one voxel", ellipsoid(shape, (4, 7, 7), (0.5,) * 3),
         ellipsoid(shape, (4, 7, 9), (0.5,) * 3), (2.0, 1.0, 0.5)),
    pair("the same", blob(shape, 4, 0.2), blob(shape, 4, 0.2), (2.0, 1.0, 1.0)),
    pair("a slice", blob((20, 24), 5, 0.3), blob((20, 24), 6, 0.3), (0.8, 1.3)),
]

spacings = [(1.0, 1.0, 1.0), (0.7, 1.3, 2.9), (5.0, 0.8, 0.8), (0.31, 1.7, 1.1)]
# Bits of surface-distance's codes are 128 at [0][0][0] down to 1 at [1][1][1]; here x is axis 2 and
# bit x + 2 y + 4 z is the corner at (x, y, z).
corners = [(z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1)]
theirs = [
    sum(128 >> (4 * z + 2 * y + x) for i, (z, y, x) in enumerate(corners) if code >> i & 1)
    for code in range(256)
]
areas = [
    {
        "spacing_mm": list(s),
        "mm2": create_table_neighbour_code_to_surface_area(s[::-1])[theirs].tolist(),
    }
    for s in spacings
]

images = []
for name, size, sigma in (("volume", (16, 19, 23), 1.2), ("slices", (3, 30, 26), 1.0)):
    real = ndimage.gaussian_filter(rng.normal(size=size), sigma) * 900 + 300
    image = 0.9 * real + rng.normal(size=size) * 40 + 25
    real, image = np.round(real), np.round(image)
    low, high = -500.0, 1200.0
    a, b = np.clip(image, low, high), np.clip(real, low, high)
    inside = np.zeros(size, bool)
    inside[:, 6:-6, 6:-6] = rng.random((size[0], size[1] - 12, size[2] - 12)) < 0.7
    if size[0] > 10:
        inside[:6] = inside[-6:] = False
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                   data_range=high - low, full=True)
    of = lambda p, q: skimage.structural_similarity(p - low, q - low, **options)[1]
    similarity = of(a, b) if size[0] > 10 else np.stack([of(p, q) for p, q in zip(a, b)])
    images.append({
        "name": name,
        "shape": list(size[::-1]),
        "image": image.astype(int).ravel().tolist(),
        "real": real.astype(int).ravel().tolist(),
        "mask": "".join(map(str, inside.astype(int).ravel())),
        "range": [low, high],
        "mae": float(np.abs(a - b)[inside].mean()),
        "psnr_db": float(skimage.peak_signal_noise_ratio(b[inside], a[inside],
                                                         data_range=high - low)),
        "ssim": float(similarity[inside].mean()),
    })

text = json.dumps({"pairs": pairs, "areas": areas, "images": images}, separators=(",", ":"))
Path(__file__).with_name("metrics.json").write_text(text.replace('{"name"', '\n{"name"') + "\n")
