"""Makes statistics.json: what SciPy says of paired differences and of bootstrap means.

    python statistics.py        with SciPy 1.17.1 and NumPy 2.4.6
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats

rng = np.random.default_rng(5)
trials = []
for n in (1, 2, 5, 8, 13, 14, 25, 50, 51, 120):
    plain = rng.normal(0.3, 1.0, n)
    rounded = np.round(plain, 1) if n > 2 else plain
    some_zero = plain.copy()
    some_zero[: n // 4] = 0.0
    both = rounded.copy()
    both[: n // 4] = 0.0
    for differences in (plain, rounded, some_zero, both):
        found = stats.wilcoxon(differences)
        trials.append(
            {
                "differences": differences.tolist(),
                "statistic": float(found.statistic),
                "p": float(found.pvalue),
            }
        )

values = rng.beta(8, 2, 17)
draws = values[rng.integers(0, len(values), (500, len(values)))].mean(axis=1)
bootstrap = {"values": values.tolist(), "means": draws.tolist()}
for method in ("percentile", "BCa"):
    kept = stats.bootstrap((values,), np.mean, n_resamples=0, method=method,
                           confidence_level=0.9,
                           bootstrap_result=stats._resampling.BootstrapResult(
                               None, draws, None))
    bootstrap[method.lower()] = list(map(float, kept.confidence_interval))

Path(__file__).with_name("statistics.json").write_text(
    json.dumps({"wilcoxon": trials, "bootstrap": bootstrap}, separators=(",", ":")) + "\n"
)
