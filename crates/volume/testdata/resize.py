"""Writes resize.json: small volumes resized by scikit-image as nnU-Net calls it.

python resize.py > resize.json      (made with scikit-image 0.26.0, SciPy 1.17.1, NumPy 2)
Shapes are x, y, z; samples x fastest. Positions are those of equal fields of view:
(i + 0.5) * old / new - 0.5.
"""

import json

import numpy as np
from skimage.transform import resize

rng = np.random.default_rng(1)
cases = []
for shape, to, order in [
    ((7, 6, 5), (11, 13, 8), 3),
    ((7, 6, 5), (5, 4, 3), 3),
    ((9, 5, 4), (9, 10, 4), 3),
    ((3, 2, 5), (7, 5, 10), 3),
    ((12, 1, 1), (31, 1, 1), 3),
    ((7, 6, 5), (11, 4, 9), 1),
]:
    source = rng.normal(size=shape[::-1])
    source = source.astype(np.float32).astype(float)
    found = resize(source, to[::-1], order=order, mode="edge", anti_aliasing=False)
    cases.append(
        {
            "shape": shape,
            "to": to,
            "order": order,
            "source": [round(float(v), 7) for v in source.ravel()],
            "expected": [round(float(v), 7) for v in found.ravel()],
        }
    )
print(json.dumps(cases))
