"""Writes nrrd_files.json: NRRD files in hexadecimal, and where ITK finds their voxels.

python nrrd_files.py > nrrd_files.json      (made with pynrrd 1.1.3, SimpleITK 2.5.7)
Each holds 3 x 4 x 2 samples, 0 to 23 in the order of storage. `points` are ITK's physical points of
voxels (0, 0, 0), (2, 0, 0), (0, 3, 0) and (0, 0, 1), turned from LPS to RAS.
"""
import json
import os
import tempfile

import nrrd
import numpy as np
import SimpleITK as sitk

c, s = np.cos(0.3), np.sin(0.3)
turned = np.array([[0.7 * c, 0.7 * s, 0], [-1.1 * s, 1.1 * c, 0], [0, 0, -2.5]])
cases = [
    ("lps_i16_gzip", np.int16, {"space": "left-posterior-superior"}, "gzip", "little"),
    ("ras_f32_raw_big", np.float32, {"space": "right-anterior-superior"}, "raw", "big"),
    ("las_u8_raw", np.uint8, {"space": "LAS"}, "raw", "little"),
    ("lps_f64_raw_big", np.float64, {"space": "LPS"}, "raw", "big"),
    ("lps_u32_gzip", np.uint32, {"space": "left-posterior-superior"}, "gzip", "little"),
]
out = []
for name, kind, header, encoding, endian in cases:
    values = np.arange(3 * 4 * 2).reshape(3, 4, 2, order="F").astype(kind)
    header |= {
        "space directions": turned,
        "space origin": [-12.5, 30.25, 7.0],
        "kinds": ["domain"] * 3,
        "encoding": encoding,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name + ".nrrd")
        order = "<" if endian == "little" else ">"
        nrrd.write(path, values.astype(np.dtype(kind).newbyteorder(order)), header)
        data = open(path, "rb").read()
        image = sitk.ReadImage(path)
    assert sitk.GetArrayFromImage(image).ravel().tolist() == list(range(24)), name
    points = []
    for voxel in [(0, 0, 0), (2, 0, 0), (0, 3, 0), (0, 0, 1)]:
        x, y, z = image.TransformIndexToPhysicalPoint(voxel)
        points.append([-x, -y, z])
    out.append({"name": name, "file": data.hex(), "points": points})
print(json.dumps(out, indent=1))
