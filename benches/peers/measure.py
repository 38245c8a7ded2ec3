"""Metrics, reading, writing and resampling by the libraries that are used for them.

Answers `crossmod bench measure` and `crossmod bench io`, one JSON object a line, as peer.py does:

    {"measure": {"prediction": "p.nii.gz", "truth": "t.nii.gz"}, "repeat": 1}
    {"read": "image.nii.gz", "repeat": 1}       {"write": ...}      {"resample": ...}
        ->  {"ms": [...], "cpu_ms": [...], "peak_rss_mb": ...}

Files are read before the clock starts, but for `read`. surface-distance and MONAI are called label by
label, each metric by its own function, as their documentation shows; both crop to the label
themselves. Each side reads to float32 and writes int16 with its own level of compression.

    python measure.py --library monai --threads 2
"""

import argparse
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import cache

import nibabel
import numpy as np

import peer

SPACING_MM = (1.5, 1.5, 1.5)
NAMES = {
    "surface-distance": ("surface_distance", "surface-distance"),
    "monai": ("monai", "MONAI"),
    "nibabel": ("nibabel", "nibabel"),
    "simpleitk": ("SimpleITK", "SimpleITK"),
    "scipy": ("scipy", "SciPy"),
}


@cache
def labels(path: str) -> tuple[np.ndarray, tuple[float, ...]]:
    image = nibabel.load(path)
    return np.asarray(image.dataobj).astype(np.uint16), image.header.get_zooms()[:3]


@cache
def samples(path: str) -> tuple[np.ndarray, tuple[float, ...]]:
    image = nibabel.load(path)
    return image.get_fdata(dtype=np.float32), image.header.get_zooms()[:3]


def measure_surface_distance(prediction: str, truth: str) -> None:
    import surface_distance as sd

    (p, _), (t, spacing) = labels(prediction), labels(truth)
    for label in np.unique(t)[1:]:
        of_truth, of_prediction = t == label, p == label
        found = sd.compute_surface_distances(of_truth, of_prediction, spacing)
        sd.compute_robust_hausdorff(found, 100)
        sd.compute_robust_hausdorff(found, 95)
        sd.compute_average_surface_distance(found)
        sd.compute_surface_dice_at_tolerance(found, 1.0)
        sd.compute_dice_coefficient(of_truth, of_prediction)


def measure_monai(prediction: str, truth: str) -> None:
    import torch
    from monai import metrics

    (p, _), (t, spacing) = labels(prediction), labels(truth)
    spacing = [float(mm) for mm in spacing]
    for label in np.unique(t)[1:]:
        one = [torch.from_numpy((a == label)[None, None]).float() for a in (p, t)]
        metrics.compute_hausdorff_distance(*one, True, spacing=spacing)
        metrics.compute_hausdorff_distance(*one, True, percentile=95, spacing=spacing)
        metrics.compute_average_surface_distance(*one, True, symmetric=True, spacing=spacing)
        metrics.compute_surface_dice(*one, [1.0], include_background=True, spacing=spacing)
        metrics.compute_dice(*one, True)
        metrics.compute_iou(*one, True)


def read(path: str) -> None:
    nibabel.load(path).get_fdata(dtype=np.float32)


def write(path: str) -> None:
    array, _ = samples(path)
    image = nibabel.Nifti1Image(array.astype(np.int16), nibabel.load(path).affine)
    nibabel.save(image, os.path.join(os.path.dirname(path), "peer.nii.gz"))


@cache
def itk_image(path: str):
    import SimpleITK as sitk

    array, spacing = samples(path)
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing([float(mm) for mm in spacing])
    return image


def resample_simpleitk(path: str) -> None:
    import SimpleITK as sitk

    image = itk_image(path)
    size = [round(n * old / new) for n, old, new in
            zip(image.GetSize(), image.GetSpacing(), SPACING_MM)]
    origin = [(new - old) / 2 for old, new in zip(image.GetSpacing(), SPACING_MM)]
    sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, origin, SPACING_MM,
                  image.GetDirection(), 0.0, sitk.sitkFloat32)


def resample_scipy(path: str) -> None:
    from scipy import ndimage

    array, spacing = samples(path)
    factors = [old / new for old, new in zip(spacing, SPACING_MM)]
    ndimage.zoom(array, factors, order=1, mode="nearest", grid_mode=True)


def worker(library: str, request: dict) -> tuple[Callable[[], None], Callable[[], object]]:
    """What is asked for, and what it needs first."""
    if "measure" in request:
        measure = {"surface-distance": measure_surface_distance, "monai": measure_monai}[library]
        files = request["measure"]
        return lambda: measure(**files), lambda: [labels(path) for path in files.values()]
    if "read" in request:
        return lambda: read(request["read"]), lambda: None
    if "write" in request:
        return lambda: write(request["write"]), lambda: samples(request["write"])
    path = request["resample"]
    if library == "simpleitk":
        return lambda: resample_simpleitk(path), lambda: itk_image(path)
    return lambda: resample_scipy(path), lambda: samples(path)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--threads", type=int, required=True)
    arguments.add_argument("--library", choices=NAMES, required=True)
    given = arguments.parse_args()
    module, name = NAMES[given.library]
    module = importlib.import_module(module)
    if given.library == "monai":
        import torch

        torch.set_num_threads(given.threads)
    if given.library == "simpleitk":
        module.ProcessObject.SetGlobalDefaultNumberOfThreads(given.threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    version = getattr(module, "__version__", "")
    say({"peer": f"{name} {version}".strip(), "threads": given.threads,
         "allocator": peer.allocator()})
    for line in sys.stdin:
        try:
            request = json.loads(line)
            work, prepare = worker(given.library, request)
            prepare()
            wall, processor = [], []
            for _ in range(request["repeat"]):
                start, before = time.perf_counter(), time.process_time()
                work()
                wall.append((time.perf_counter() - start) * 1e3)
                processor.append((time.process_time() - before) * 1e3)
            say({"ms": wall, "cpu_ms": processor, "peak_rss_mb": peer.peak_rss_mb()})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
