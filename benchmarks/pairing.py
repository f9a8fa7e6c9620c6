"""Does the difference of two methods vary less at equal seeds? Measured on the finished runs of a folder.

Equal seeds share the initial weights of common layers, the order of images and their augmentations. If that
made two methods' numbers rise and fall together, the variance of their difference over seeds would be well
below the sum of their variances; 1 means that pairing brings nothing. Only variances are read, no mean.

    python benchmarks/pairing.py runs
"""

import argparse
import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np

from suite.files import read_json
from suite.runs.directory import RunDirectory

LEAST_SEEDS = 3


def numbers(folder: Path) -> dict[tuple[str, str, str], dict[int, dict[str, float]]]:
    """Fingerprint of the data, preset and name of a configuration -> seed -> metric -> number."""
    found: dict[tuple[str, str, str], dict[int, dict[str, float]]] = defaultdict(dict)
    for path in sorted(folder.iterdir()):
        run = RunDirectory(path)
        result = run.result() if path.is_dir() else None
        if result is None or not run.spec_file.exists():
            continue
        spec = read_json(run.spec_file)
        name = f"{spec['method']} {sorted(spec.get('options', {}).items())}"
        data = str(spec.get("dataset", {}).get("fingerprint"))
        metrics = {key: value for key, value in result["metrics"].items() if isinstance(value, float)}
        found[data, str(spec.get("preset")), name][int(spec["seed"])] = metrics
    return found


def main() -> None:
    """Print the ratio of variances for each metric as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    options = parser.parse_args()
    configurations = numbers(options.runs)
    together: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (one, first), (other, second) in combinations(configurations.items(), 2):
        seeds = sorted(first.keys() & second.keys())
        if one[:2] != other[:2] or len(seeds) < LEAST_SEEDS:
            continue
        for metric in first[seeds[0]].keys() & second[seeds[0]].keys():
            a, b = (np.array([runs[seed].get(metric, np.nan) for seed in seeds]) for runs in (first, second))
            if np.isfinite(a + b).all():
                both = (float(np.var(a - b, ddof=1)), float(np.var(a, ddof=1) + np.var(b, ddof=1)))
                together[metric].append(both)
    ratios = {
        metric: round(sum(one for one, _ in pairs) / sum(two for _, two in pairs), 2)
        for metric, pairs in sorted(together.items())
        if sum(two for _, two in pairs) > 0
    }
    pairs = max((len(one) for one in together.values()), default=0)
    print(json.dumps({"pairs": pairs, "variance of differences / sum of variances": ratios}, indent=1))


if __name__ == "__main__":
    main()
