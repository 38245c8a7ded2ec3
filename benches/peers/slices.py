"""Scans to slices, random patches of them, and back, as crossmod where `plan.fit = "slice"`."""

import math
from itertools import permutations
from pathlib import Path

import nibabel
import numpy as np
import torch
import torch.nn.functional as F
from nibabel import orientations
from torch import Tensor

from philox import Rng, case_id


def orientation_of(affine: np.ndarray) -> np.ndarray:
    """The axes' directions with the largest sum of cosines with them, in nibabel's form.

    nibabel's own choice takes axis after axis, which differs for scans oblique in all directions.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    axes = range(3)
    world = max(permutations(axes), key=lambda order: sum(abs(cosines[order, axes])))
    return np.array([[w, 1 if cosines[w, axis] >= 0 else -1] for axis, w in enumerate(world)])


class Upright:
    """A scan whose slices lie along the third axis, upright, and the way back to its own axes."""

    def __init__(self, path: Path) -> None:
        self.scan = nibabel.load(path)
        own = orientation_of(self.scan.affine)
        spacing = self.scan.header.get_zooms()[:3]
        code = orientations.ornt2axcodes(own)[int(np.argmax(spacing))]
        # In-plane towards Left, Posterior, Inferior; slices towards Right, Anterior, Superior.
        in_plane = [axis[1] for axis in ("RL", "AP", "SI") if code not in axis]
        across = next(axis[0] for axis in ("RL", "AP", "SI") if code in axis)
        upright = orientations.axcodes2ornt((*in_plane, across))
        self.turn = orientations.ornt_transform(own, upright)
        self.turn_back = orientations.ornt_transform(upright, own)

    def slices(self) -> np.ndarray:
        """[slice, row, column]."""
        values = np.asarray(self.scan.dataobj)
        return np.ascontiguousarray(orientations.apply_orientation(values, self.turn).T)

    def save_labels(self, slices: np.ndarray, path: Path) -> None:
        labels = orientations.apply_orientation(slices.T.astype(np.uint8), self.turn_back)
        header = self.scan.header.copy()
        header.set_data_dtype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(labels, self.scan.affine, header), path)


def resized(slices: Tensor, size: tuple[int, int]) -> Tensor:
    """[slice, channel, row, column] to another number of pixels, linear, without smoothing."""
    return F.interpolate(slices, size=size, mode="bilinear", align_corners=False)


def prepare(scan: Upright, load: int, percentiles: list[float]) -> np.ndarray:
    """Slices of side `load` in [-1, 1], by percentiles of the scan."""
    values = scan.slices().astype(np.float64)
    low, high = np.percentile(values, percentiles)
    standard = np.clip((values - low) * 2 / (high - low) - 1, -1, 1)
    slices = torch.from_numpy(standard.astype(np.float32))[:, None].double()
    return resized(slices, (load, load))[:, 0].float().numpy()


def prepare_labels(scan: Upright, load: int, values: list[int]) -> np.ndarray:
    """Class indices: of each pixel the class with the largest share of it."""
    classes = scan.slices()[:, None] == np.array(values)[None, :, None, None]
    shares = resized(torch.from_numpy(classes.astype(np.float64)), (load, load))
    # Rounded so that equal shares tie, and the first class wins.
    return (shares * 2**30).round().argmax(1).numpy()


class Sampler:
    """Random patches of one domain, keyed by the step."""

    def __init__(self, name: str, images: list, labels: list | None, recipe: dict) -> None:
        self.case, self.seed = case_id(name), recipe["seed"]
        self.images = np.concatenate(images)
        self.labels = None if labels is None else np.concatenate(labels)
        self.augment, self.patch = recipe["augment"], recipe["plan"]["max_patch"]
        self.epoch, self.order = -1, []

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor | None]:
        patches = [self.item(step * size + i) for i in range(size)]
        images = torch.from_numpy(np.stack([image for image, _ in patches])[:, None])
        if self.labels is None:
            return images, None
        return images, torch.from_numpy(np.stack([labels for _, labels in patches]))

    def item(self, item: int) -> tuple[np.ndarray, np.ndarray | None]:
        rng = Rng(self.seed, self.case ^ item >> 32, item)
        index = rng.below(len(self.images)) if self.labels is None else self.shuffled(item)
        rotation = rng.either(math.radians(self.augment["rotation_deg"]))
        scale = math.exp(rng.either(math.log(self.augment["scale"])))
        gamma = math.exp(rng.either(math.log(self.augment["gamma"])))
        mirror = rng.units(1)[0] < self.augment["mirror"]
        side = self.images.shape[1]
        # Whole pixels, so that a plain crop interpolates nothing.
        centre = [(self.patch - 1) / 2 + rng.below(side - self.patch + 1) for _ in range(2)]

        offset = (np.arange(self.patch, dtype=np.float32) - (self.patch - 1) / 2) / scale
        dx, dy = -offset[None] if mirror else offset[None], offset[:, None]
        x = centre[0] + math.cos(rotation) * dx - math.sin(rotation) * dy
        y = centre[1] + math.sin(rotation) * dx + math.cos(rotation) * dy
        x, y = (v.clip(0, side - 1).astype(np.float32) for v in (x, y))
        i, j = x.astype(int), y.astype(int)
        fx, fy = x - np.floor(x), y - np.floor(y)
        i1, j1 = np.minimum(i + 1, side - 1), np.minimum(j + 1, side - 1)
        image = self.images[index]
        above = image[j, i] * (1 - fx) + image[j, i1] * fx
        below = image[j1, i] * (1 - fx) + image[j1, i1] * fx
        value = above * (1 - fy) + below * fy
        if gamma != 1:
            value = (value * 0.5 + 0.5).clip(0, 1) ** np.float32(gamma) * 2 - 1
        if self.labels is None:
            return value, None
        return value, self.labels[index][(y + 0.5).astype(int), (x + 0.5).astype(int)]

    def shuffled(self, item: int) -> int:
        """Each slice once an epoch; the other domain draws independently, so no pair repeats."""
        n = len(self.images)
        epoch, place = divmod(item, n)
        if epoch != self.epoch:
            rng = Rng(self.seed, (self.case << 32 | self.case >> 32) % 2**64, epoch)
            order = list(range(n))
            for i in range(n - 1, 0, -1):
                j = rng.below(i + 1)
                order[i], order[j] = order[j], order[i]
            self.epoch, self.order = epoch, order
        return self.order[place]
