"""Writes dicom_tilt.json: values between the slices of readers/ct_ge_tilt_irregular.

CROSSMOD_TEST_DATA=... python dicom_tilt.py > dicom_tilt.json      (made with pydicom 3.0.2, SciPy)
Each is a voxel of the upright grid, by its place in RAS mm, and the value there, HU: between the two
slices next to it along the normal, each by SciPy's linear interpolation within it.
"""
import json
import os

import numpy as np
import pydicom
from scipy.ndimage import map_coordinates

folder = os.path.join(os.environ["CROSSMOD_TEST_DATA"], "readers", "ct_ge_tilt_irregular")
slices = [pydicom.dcmread(os.path.join(folder, f)) for f in sorted(os.listdir(folder))]
row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
normal = np.cross(row, column)
slices.sort(key=lambda s: normal @ np.array(s.ImagePositionPatient, float))
places = np.array([s.ImagePositionPatient for s in slices], float)
heights = places @ normal
values = [s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]
dy, dx = map(float, slices[0].PixelSpacing)

# The upright grid that holds all slices, with the smallest step.
offsets = (places - places[0]) @ np.stack([row / dx, column / dy], 1)
left, top = offsets.min(0)
step = np.diff(heights).min()
rng = np.random.default_rng(1)
out = []
while len(out) < 300:
    x, y = rng.integers(512, size=2)
    z = rng.integers(1, int((heights[-1] - heights[0]) / step))
    point = places[0] + row * dx * (left + x) + column * dy * (top + y) + normal * step * z
    i = np.searchsorted(heights, point @ normal) - 1
    both = []
    for k in (i, i + 1):
        inside = point - places[k]
        at = [[inside @ column / dy], [inside @ row / dx]]
        both.append(map_coordinates(values[k], at, order=1, cval=np.nan)[0])
    weight = (point @ normal - heights[i]) / (heights[i + 1] - heights[i])
    value = both[0] * (1 - weight) + both[1] * weight
    if np.isfinite(value):
        out.append([*(point * [-1, -1, 1]).round(6).tolist(), round(float(value), 4)])
print(json.dumps(out))
