#!/usr/bin/env python3
"""Makes vectors.json: what scipy says of the statistics of this folder's parent.

Needs scipy (1.10.1 made the committed file): python3 make.py > vectors.json

- untied: scipy.stats.mannwhitneyu(method="exact"); tied: scipy.stats.permutation_test over every way to
  deal the pooled values, of the rank sum; normal: mannwhitneyu(method="asymptotic").
- Hodges-Lehmann: the median over all pairs, of the differences and of the logarithms of the ratios.
- intervals, untied: by brute force from their definition: a pair's difference d is an end if the test
  (mannwhitneyu, exact) rejects all shifts beyond it and not those next to it on the other side.
"""
import json
import numpy as np
from scipy import stats

rng = np.random.default_rng(20261122)


def two_sided(a, b):
    return stats.mannwhitneyu(b, a, alternative="two-sided", method="exact")


def tied(a, b):
    rank_sum = lambda x, y: stats.rankdata(np.concatenate([x, y]))[: len(x)].sum()
    result = stats.permutation_test(
        (np.array(b), np.array(a)), rank_sum, permutation_type="independent", n_resamples=np.inf,
        alternative="two-sided", vectorized=False)
    return result.pvalue


def brute_interval(a, b, pairs, move):
    """The pairs next to which the test changes its mind; `pairs` sorted, `move(b, by)` undoes a shift."""
    between = [pairs[0] - 1] + [(x + y) / 2 for x, y in zip(pairs, pairs[1:])] + [pairs[-1] + 1]
    kept = [two_sided(a, move(b, by)).pvalue > 0.05 for by in between]
    if kept[0] or kept[-1]:
        return None, None
    first = kept.index(True)
    last = len(kept) - 1 - kept[::-1].index(True)
    return pairs[first - 1], pairs[last]


def vector(a, b, kind):
    a, b = np.array(a, float), np.array(b, float)
    if kind == "tied":
        u, p = stats.mannwhitneyu(b, a).statistic, tied(a, b)
    elif kind == "normal":
        u, p = stats.mannwhitneyu(b, a, alternative="two-sided", method="asymptotic")
    else:
        u, p = two_sided(a, b)
    differences = sorted((y - x) for x in a for y in b)
    logs = sorted(np.log(y) - np.log(x) for x in a for y in b)
    found = {
        "kind": kind, "a": a.tolist(), "b": b.tolist(), "u": float(u), "p": float(p),
        "shift": float(np.median(differences)), "ratio": float(np.exp(np.median(logs))),
    }
    if kind == "untied":
        low, high = brute_interval(a, b, differences, lambda v, by: v - by)
        found["shift_interval"] = [low, high]
        low, high = brute_interval(np.log(a), np.log(b), logs, lambda v, by: v - by)
        found["ratio_interval"] = [None if x is None else float(np.exp(x)) for x in (low, high)]
    return found


vectors = []
for n, m in [(3, 3), (4, 4), (5, 5), (5, 9), (8, 8), (10, 10), (12, 7), (20, 20)]:
    for effect in (0, 40):
        a = rng.choice(2000, size=n, replace=False) + 1000.0
        b = rng.choice(2000, size=m, replace=False) + 1000.25 + effect * 20
        vectors.append(vector(a, b, "untied"))
for n, m in [(3, 4), (5, 5), (6, 4), (8, 8), (10, 9)]:
    for effect in (0, 2):
        vectors.append(vector(rng.integers(1, 8, n), rng.integers(1, 8, m) + effect, "tied"))
vectors.append(vector([5] * 6, [5] * 6, "tied"))
for n, m in [(60, 60), (101, 80)]:
    for effect in (0, 3):
        vectors.append(vector(rng.integers(1, 60, n), rng.integers(1, 60, m) + effect, "normal"))
print(json.dumps(vectors, indent=0))
