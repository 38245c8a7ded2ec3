"""Writes two_means.json: numbers and the two centres that scikit-learn's KMeans finds.

Run with scikit-learn 1.9 and NumPy: python two_means.py
"""

import json
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

rng = np.random.default_rng(7)
cases = [
    # Fat and soft tissue in whole HU, as in the unsegmented part of a CT.
    np.concatenate([rng.normal(-105, 14, 260), rng.normal(45, 22, 340)]).round(),
    # Few bright voxels: bone.
    np.concatenate([rng.normal(30, 40, 380), rng.normal(600, 220, 20)]).round(1),
    # One broad group.
    rng.normal(0, 50, 300).round(2),
    # Very unequal spreads.
    np.concatenate([rng.uniform(-400, 0, 200), rng.normal(60, 5, 300)]).round(1),
    # Two numbers alone.
    np.array([3.0] * 5 + [8.0] * 2),
]
out = []
for values in cases:
    values = values.astype(np.float32)
    fit = KMeans(2, n_init=20, tol=0, max_iter=1000, random_state=0).fit(values[:, None].astype(np.float64))
    out.append(
        {
            "values": [round(float(v), 2) for v in values],
            "centres": sorted(float(c) for c in fit.cluster_centers_[:, 0]),
        }
    )
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
