"""The steps of SynthSeg's generator put together from TorchIO's or MONAI's own transforms.

Answers `crossmod bench synth`, one JSON object a line, as peer.py does:

    {"make": "labels.nii.gz", "repeat": 3}     ->  {"ms": [...], "peak_rss_mb": ...}

Both libraries work on the map as it is given, so that neither deforms more than it keeps: affine and
elastic deformation (labels nearest), left-right flip with the labels' swap, a Gaussian mixture of the
labels, bias field, gamma, a lower resolution and back, intensities to 0 to 1. Ranges are SynthSeg's
(doi:10.1016/j.media.2023.102789) where the library's parameters mean the same, and of the same size
where they do not. MONAI has no transform that paints labels: that step is three lines of PyTorch.

    python synth.py --library torchio --threads 2
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import peer

Make = Callable[[], tuple[object, object]]


def swap_table(labels: torch.Tensor) -> torch.Tensor:
    """Pairs of values that change sides: here values n and n + 1 of odd n."""
    table = torch.arange(int(labels.max()) + 2)
    table[1:-1:2], table[2::2] = table[2::2].clone(), table[1:-1:2].clone()
    return table


def torchio(path: str) -> Make:
    import torchio as tio

    subject = tio.Subject(labels=tio.LabelMap(path))
    subject.load()
    used = subject.labels.data.unique().int().tolist()
    table = swap_table(subject.labels.data)
    before = tio.Compose(
        [
            tio.RandomAffine(scales=(0.8, 1.2), degrees=15, center="image"),
            tio.RandomElasticDeformation(num_control_points=9, max_displacement=8),
        ]
    )
    after = tio.Compose(
        [
            tio.RandomLabelsToImage(
                label_key="labels",
                image_key="image",
                used_labels=used,
                default_mean=(25, 225),
                default_std=(5, 25),
            ),
            tio.RandomBiasField(coefficients=0.5, order=3, include=["image"]),
            tio.RescaleIntensity((0, 1), include=["image"]),
            tio.RandomGamma(log_gamma=(-1.0, 1.0), include=["image"]),
            tio.RandomAnisotropy(downsampling=(1, 8), include=["image"]),
            tio.RandomBlur(std=(0, 2), include=["image"]),
        ]
    )

    def make() -> tuple[object, object]:
        drawn = before(subject)
        if np.random.random() < 0.5:
            drawn = tio.Flip(0)(drawn)
            drawn.labels.set_data(table[drawn.labels.data.long()])
        drawn = after(drawn)
        return drawn.image.data, drawn.labels.data

    return make


def monai(path: str) -> Make:
    from monai import transforms as mt

    labels = mt.LoadImage(image_only=True, ensure_channel_first=True)(path).float()
    table = swap_table(labels)
    shape = labels.shape[1:]
    before = mt.Rand3DElasticd(
        "labels",
        sigma_range=(8, 12),
        magnitude_range=(0, 300),
        spatial_size=shape,
        prob=1.0,
        rotate_range=np.pi / 12,
        shear_range=0.012,
        scale_range=0.2,
        mode="nearest",
        padding_mode="zeros",
    )
    after = mt.Compose(
        [
            mt.RandBiasFieldd("image", degree=3, coeff_range=(0.0, 0.3), prob=0.95),
            mt.ScaleIntensityd("image"),
            mt.RandAdjustContrastd("image", gamma=(0.4, 2.7), prob=1.0),
            mt.RandSimulateLowResolutiond("image", zoom_range=(0.25, 1.0), prob=1.0),
            mt.RandGaussianSmoothd(
                "image", sigma_x=(0, 2), sigma_y=(0, 2), sigma_z=(0, 2), prob=1.0
            ),
        ]
    )

    def make() -> tuple[object, object]:
        drawn = before({"labels": labels})["labels"].as_tensor().long()
        if np.random.random() < 0.5:
            drawn = table[drawn.flip(1)]
        means = torch.empty(len(table)).uniform_(25, 225)
        sds = torch.empty(len(table)).uniform_(5, 25)
        image = means[drawn] + sds[drawn] * torch.randn(drawn.shape)
        return after({"image": image})["image"], drawn

    return make


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--threads", type=int, required=True)
    arguments.add_argument("--library", choices=("torchio", "monai"), default="torchio")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    np.random.seed(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    library = __import__(given.library)
    name = {"torchio": "TorchIO", "monai": "MONAI"}[given.library]
    say(
        {
            "peer": f"{name} {library.__version__}",
            "threads": torch.get_num_threads(),
            "allocator": peer.allocator(),
        }
    )
    makers: dict[str, Make] = {}
    for line in sys.stdin:
        try:
            request = json.loads(line)
            path = request["make"]
            if path not in makers:
                makers[path] = {"torchio": torchio, "monai": monai}[given.library](path)
            times = []
            for _ in range(request["repeat"]):
                start = time.perf_counter()
                makers[path]()
                times.append((time.perf_counter() - start) * 1e3)
            say({"ms": times, "peak_rss_mb": peer.peak_rss_mb()})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
