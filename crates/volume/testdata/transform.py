"""Writes transform.json: a small volume moved by SimpleITK and SciPy.

    python transform.py > transform.json        (SimpleITK 2.5.7, SciPy 1.17.1, NumPy 2.4.6)

Grids are RAS, matrices row by row; ITK's are LPS, so the first two axes are turned on the way there.
Samples are x fastest. Cubic values are SciPy's, as ITK's spline mirrors its ends.
"""

import json

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

rng = np.random.default_rng(7)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rotation(axis, angle):
    axis = np.array(axis) / np.linalg.norm(axis)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def grid(shape, spacing, origin, turn):
    world = np.eye(4)
    world[:3, :3] = turn @ np.diag(spacing)
    world[:3, 3] = origin
    return {"shape": list(shape), "world": world}


def itk(array, of, vector=False):
    image = sitk.GetImageFromArray(array, isVector=vector)
    world = LPS @ of["world"]
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((world[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(world[:3, 3].tolist())
    return image


source = grid((9, 8, 7), (1.1, 0.9, 2.0), (-3, 4, 1), rotation((0.2, -0.3, 1.0), 0.4))
target = grid((10, 9, 6), (0.8, 1.2, 1.7), (-4, 5, 0), rotation((1.0, 0.1, 0.2), -0.3))
lattice = grid((4, 4, 4), (3.0, 3.0, 4.0), (-5, 3, -1), rotation((0, 0, 1.0), 0.1))
samples = rng.normal(size=source["shape"][::-1]).astype(np.float32)
labels = rng.integers(0, 4, source["shape"][::-1]).astype(np.uint16)
field = rng.normal(scale=0.8, size=(4, 4, 4, 3)).astype(np.float32)
affine = np.eye(4)
affine[:3, :3] = rotation((0.1, 1.0, -0.4), 0.25) @ np.diag([1.05, 0.93, 1.1])
affine[:3, 3] = (0.7, -0.4, 0.3)

map_ = sitk.AffineTransform(3)
turned = LPS @ affine @ LPS
map_.SetMatrix(turned[:3, :3].ravel().tolist())
map_.SetTranslation(turned[:3, 3].tolist())
displacement = sitk.DisplacementFieldTransform(
    sitk.Cast(itk((field * [-1, -1, 1]).astype(float), lattice, True), sitk.sitkVectorFloat64)
)
# The last of a composite is applied first.
both = sitk.CompositeTransform([map_, displacement])
reference = itk(np.zeros(target["shape"][::-1], np.float32), target)


def moved(array, transform, interpolator):
    image = sitk.Resample(itk(array, source), reference, transform, interpolator, -9.0)
    return sitk.GetArrayFromImage(image).ravel()


def cubic(matrix):
    index = np.indices(target["shape"]).reshape(3, -1)
    points = np.vstack([index, np.ones(index.shape[1])])
    places = (np.linalg.inv(source["world"]) @ matrix @ target["world"] @ points)[:3]
    found = ndimage.map_coordinates(
        samples.transpose(2, 1, 0).astype(float), places, order=3, mode="nearest"
    )
    last = np.array(source["shape"])[:, None] - 0.5
    found[((places < -0.5) | (places > last)).any(axis=0)] = -9.0
    return found.reshape(target["shape"]).transpose(2, 1, 0).ravel()


def told(of):
    return {"shape": of["shape"], "world": of["world"].ravel().tolist()}


short = lambda values: [round(float(v), 6) for v in values]
print(json.dumps({
    "source": told(source), "target": told(target), "lattice": told(lattice),
    "affine": affine.ravel().tolist(),
    "samples": [float(v) for v in samples.ravel()],
    "labels": labels.ravel().tolist(),
    "field": [[float(v) for v in field[..., i].ravel()] for i in range(3)],
    "linear": short(moved(samples, map_, sitk.sitkLinear)),
    "displaced": short(moved(samples, both, sitk.sitkLinear)),
    "nearest": [max(int(v), 0) for v in moved(labels.astype(np.float32), map_,
                                              sitk.sitkNearestNeighbor)],
    "cubic": short(cubic(affine)),
}))
