"""How often 95 % intervals hold the truth: of one synthetic data set as if it were real, of several, and direct ones.

    python benchmarks/coverage.py --fits 100

Populations have a known truth. Each fit is of a fresh sample of them; intervals are of the population's values.
"""

import argparse
import time
import warnings
from collections import defaultdict

import numpy as np
import pandas as pd
from scipy import stats

from sinkgen import DPSinkhornGenerator, inference

SCHEMA = {
    "age": (18, 90), "hours": (0, 80), "sex": ["F", "M"], "region": ["n", "e", "s", "w"], "income": (0, 400),
    "score": (-6, 10), "ill": ["no", "yes"],
}  # fmt: skip
LEVEL, M = 0.95, 20
Z = stats.norm.ppf(0.5 + LEVEL / 2)


def population(n, random):
    """A sample of people."""
    age = np.clip(18 + random.gamma(3, 10, n), 18, 90)
    sex, region = random.choice(["F", "M"], n), random.choice(["n", "e", "s", "w"], n, p=[0.4, 0.3, 0.2, 0.1])
    hours = np.clip(35 + 5 * (sex == "M") + 8 * random.normal(size=n), 0, 80)
    income = np.clip(np.exp(3 + 0.01 * age + 0.02 * (hours - 35) + 0.6 * random.normal(size=n)), 0, 400)
    score = np.clip(0.03 * age + 0.04 * hours + 0.5 * (region == "s") - 1 + random.normal(size=n), -6, 10)
    ill = random.random(n) < 1 / (1 + np.exp(3 - 0.04 * age - 0.5 * (sex == "M")))
    return pd.DataFrame({
        "age": age, "hours": hours, "sex": sex, "region": region, "income": income, "score": score,
        "ill": np.where(ill, "yes", "no"),
    })  # fmt: skip


def linear(data):
    """Least squares of the score: coefficients and standard errors."""
    X = np.column_stack([np.ones(len(data)), data.age, data.hours, data.region == "s"]).astype(float)
    y = data.score.to_numpy()
    cross = np.linalg.inv(X.T @ X)
    beta = cross @ X.T @ y
    variance = np.square(y - X @ beta).sum() / (len(y) - X.shape[1])
    names = [None, "linear: age", "linear: hours", "linear: region"]
    return named(names, beta, np.sqrt(variance * cross.diagonal()))


def logistic(data):
    """Newton's method for being ill: coefficients and standard errors."""
    X = np.column_stack([np.ones(len(data)), (data.age - 50) / 10, data.sex == "M"]).astype(float)
    y, beta = (data.ill == "yes").to_numpy(float), np.zeros(3)
    for _ in range(12):
        chance = 1 / (1 + np.exp(-X @ beta))
        cross = np.linalg.inv((X * (chance * (1 - chance))[:, None]).T @ X)
        beta = beta + cross @ X.T @ (y - chance)
    return named([None, "logistic: age", "logistic: sex"], beta, np.sqrt(cross.diagonal()))


def named(names, values, errors):
    return {name: pair for name, *pair in zip(names, values, errors, strict=True) if name}


def estimates(data):
    """Estimates and textbook standard errors of one data set."""
    found, n = {}, len(data)
    for name in ("age", "income"):
        found[f"mean: {name}"] = data[name].mean(), data[name].std() / n**0.5
    for name, value in (("sex", "F"), ("region", "w"), ("ill", "yes")):
        share = (data[name] == value).mean()
        found[f"proportion: {name}"] = share, (share * (1 - share) / n) ** 0.5
    for name, q in (("age", 0.5), ("income", 0.5), ("income", 0.9)):
        reach = (q * (1 - q) / n) ** 0.5
        middle, low, high = data[name].quantile([q, q - reach, q + reach])
        found[f"quantile: {name} {q}"] = middle, (high - low) / 2
    return found | linear(data) | logistic(data)


def direct(release):
    """What the release answers by itself."""
    found = {f"mean: {name}": release.mean(name) for name in ("age", "income")}
    asked = {"sex": "F", "region": "w", "ill": "yes"}
    found |= {f"proportion: {name}": release.proportion({name: value}) for name, value in asked.items()}
    return {name: (of.estimate, of.standard_error) for name, of in found.items()}


def run(n, epsilon, fits, truth):
    """Rows of coverage, width and bias over noise, by kind of interval."""
    held, widths, off = (defaultdict(list) for _ in range(3))
    for seed in range(fits):
        random = np.random.default_rng([n, seed])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gen = DPSinkhornGenerator(epsilon, schema=SCHEMA, random_state=seed).fit(population(n, random))
            one, sets = gen.sample(n, random_state=seed), gen.sample_posterior(M, random_state=seed)
        parts = [estimates(data) for data in sets]
        rows = {("naive", name): (value, Z * error) for name, (value, error) in estimates(one).items()}
        rows |= {("direct", name): (value, Z * error) for name, (value, error) in direct(gen.release_).items()}
        for name in truth:
            found = inference.combine([p[name][0] for p in parts], [p[name][1] ** 2 for p in parts])
            rows["several", name] = float(found.estimate), (found.interval(LEVEL).high - found.estimate)
        for key, (value, reach) in rows.items():
            held[key].append(abs(value - truth[key[1]]) <= reach)
            widths[key].append(2 * reach)
            off[key].append(value - truth[key[1]])
    kinds = ("naive", "several", "direct")
    for name in truth:
        of = {kind: (kind, name) for kind in kinds if (kind, name) in held}
        told = "  ".join(f"{np.mean(held[key]):7.2f} {np.mean(widths[key]):9.4f}" for key in of.values())
        bias = np.mean(off["several", name]) / max(np.std(off["several", name]), 1e-12)
        print(f"{n:6d} {epsilon:4} {name:22s} bias/sd {bias:6.2f}  {told}", flush=True)


def main():
    """Print a table: of each estimate, coverage and width of naive intervals, of several data sets, and direct ones."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--fits", type=int, default=100)
    parser.add_argument("--n", type=int, nargs="+", default=[5000, 20000])
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 0.3])
    args = parser.parse_args()
    truth = {name: value for name, (value, _) in estimates(population(2_000_000, np.random.default_rng(0))).items()}
    print("     n  eps estimate                              naive: held, width   several: held, width   direct")
    for n in args.n:
        for epsilon in args.epsilon:
            start = time.process_time()
            run(n, epsilon, args.fits, truth)
            print(f"       {(time.process_time() - start) / args.fits:.1f} s of a processor a fit", flush=True)


if __name__ == "__main__":
    main()
