"""Do the extra steps for stills pay? Prints depth and normals errors with and without merging and fusion.

Usage: python tools/measure_detail.py [--data cache/faces] [--split val] [--samples 60] [--model depth]

The answer decides `MERGE` and `FUSE` of `stream/depth/still.py` and `LENGTH` of `stream/depth/fusion.py`;
measure on ``val``, so that the test split stays unseen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from stream.depth.estimator import DepthEstimator
from stream.evaluation.detail import measure_detail
from stream.evaluation.pick import pick_samples
from stream.evaluation.shards import PHOTO, Samples


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("cache/faces"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--model", default="depth")
    arguments = parser.parse_args()
    estimator = DepthEstimator(model=arguments.model, precision="f32")
    totals: dict[str, list[dict[str, dict[str, float]]]] = {}
    for samples in pick_samples(arguments.data, arguments.split, arguments.samples, 32, seed=0):
        totals.setdefault(_kind(samples), []).append(measure_detail(estimator, samples))
    estimator.close()
    for kind, found in totals.items():
        for variant in found[0]:
            means = [float(np.mean([one[variant][key] for one in found])) for key in ("mae_mm", "normals")]
            print(f"{kind:10} {variant:12} {means[0]:.3f} mm {means[1]:.2f} degrees")


def _kind(samples: Samples) -> str:
    """Shards hold either photos or synthetic heads."""
    return "photos" if (samples.kind == PHOTO).all() else "synthetic"


if __name__ == "__main__":
    main()
