"""Tables as people first try them, and whether they come back: one row of Markdown a case.

    python benchmarks/column_cases.py
    python benchmarks/column_cases.py --seeds 3 --only years "money, wide bounds"

Nothing is declared unless the case says so. Each case is fitted with several seeds, and its figures are printed one
seed after the other: nothing is averaged away.
"""

import argparse
import resource
import time
import warnings
from functools import partial

import numpy as np
import pandas as pd

from sinkgen import Column, DPSinkhornGenerator
from sinkgen.exceptions import PoorFitWarning

CASES = {}


def case(name, asked, *given):
    """Register a function of what is given and a seed, that returns figures as text."""

    def register(of):
        CASES[name] = (partial(of, *given), asked)
        return of

    return register


def fitted(frame, epsilon, seed, schema=None):
    """A fit, and as many records drawn as it has seen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoorFitWarning)
        gen = DPSinkhornGenerator(epsilon, schema=schema, random_state=seed).fit(frame)
    return gen, gen.sample(len(frame), random_state=seed)


def told(gen):
    """Names of the columns that the fit remarks on."""
    return {name for name, facts in gen.schema_.items() if facts.remarks}


@case("the same, n = 500", "30, or named", 500)
@case("30 columns N(0, 1), n = 2,000, epsilon 1: sd in .7 to 1.3", "30", 2000)
def normals(n, seed):
    """Of 30 columns N(0, 1): those of sd .7 to 1.3, and those that are neither nor told of."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(n, 30)), columns=[f"c{i}" for i in range(30)])
    gen, drawn = fitted(frame, 1.0, seed)
    good = drawn.std().between(0.7, 1.3)
    return f"{good.sum()} ({sum(name not in told(gen) for name in good.index[~good])} silent)"


@case("lognormal(8, 1.5), bounds (0, 1e7), n = 20,000, epsilon 1: mean and q99 over real", ".9 to 1.15; .7 to 1.5")
def money(seed):
    frame = pd.DataFrame({"m": np.random.default_rng(seed).lognormal(8, 1.5, 20_000)})
    _, drawn = fitted(frame, 1.0, seed, {"m": Column(bounds=(0, 1e7))})
    return f"{drawn.m.mean() / frame.m.mean():.3f}, {drawn.m.quantile(0.99) / frame.m.quantile(0.99):.2f}"


@case("the same, epsilon 10", "90 to 112", 10.0)
@case("70 % zero, Pareto 2, mean 100: bounds to 1e5, 1e7, none; epsilon 1", "80 to 125", 1.0)
def claims(epsilon, seed):
    """Means of a column of 20,000 records, 70 % zero, for three bounds."""
    random = np.random.default_rng(seed)
    values = np.where(random.random(20_000) < 0.7, 0.0, 1 + random.pareto(2, 20_000))
    frame = pd.DataFrame({"m": values * 100 / values.mean()})
    schemas = [{"m": Column(bounds=(0, most))} for most in (1e5, 1e7)] + [None]
    return ", ".join(f"{fitted(frame, epsilon, seed, schema)[1].m.mean():.0f}" for schema in schemas)


@case("the same, among 35 columns", ".08 to .16", 35)
@case("12 % missing in 14 columns of 600 rows, epsilon 1: least and largest share", ".08 to .16", 14)
def missing(width, seed):
    """Of a table of 600 rows, 14 columns of which miss 12 %: least and largest share, and how many are near."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(600, width)), columns=[f"c{i}" for i in range(width)])
    frame.iloc[:, :14] = frame.iloc[:, :14].mask(random.random((600, 14)) < 0.12)
    shares = fitted(frame, 1.0, seed)[1].iloc[:, :14].isna().mean()
    return f"{shares.min():.3f} to {shares.max():.3f}, {shares.between(0.08, 0.16).sum()} of 14"


@case("years, n = 2,000", ".002", 2000)
@case("years, n = 500, epsilon 1: share outside by a tenth", ".02", 500)
def years(n, seed):
    """Share outside of 1950 to 2019 by a tenth of the span, in a table of five columns."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"year": random.integers(1950, 2020, n), "x": random.normal(size=n)})
    frame["g"], frame["age"] = random.integers(3, size=n), random.integers(18, 90, n)
    frame["h"] = random.choice(["a", "b"], n)
    _, drawn = fitted(frame, 1.0, seed)
    return f"{((drawn.year < 1943) | (drawn.year > 2026)).mean():.4f}"


@case("dates of three years, n = 2,000, epsilon 1: first, last, share at midnight", "2020 to 2022, 1")
def dates(seed):
    days = np.random.default_rng(seed).integers(0, 1096, 2000)
    frame = pd.DataFrame({"d": pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D")})
    drawn = fitted(frame, 1.0, seed)[1].d
    return f"{drawn.min().date()}, {drawn.max().date()}, {(drawn == drawn.dt.normalize()).mean():.2f}"


@case("[0, 1] data, 28 % ones, 40 columns of a table of 2,000, epsilon 1: columns above 1", "0")
def unit_table(seed):
    random = np.random.default_rng(seed)
    values = np.where(random.random((2000, 40)) < 0.28, 1.0, random.random((2000, 40)))
    _, drawn = fitted(pd.DataFrame(values).rename(columns="c{}".format), 1.0, seed)
    return f"{(drawn.max() > 1).sum()}"


@case("[0, 1] data as an array of 2,000 x 8, and as float images of digits, epsilon 1: share above 1", "0, 0")
def unit_array(seed):
    from sklearn.datasets import load_digits

    random = np.random.default_rng(seed)
    values = np.where(random.random((2000, 8)) < 0.28, 1.0, random.random((2000, 8)))
    shares = [(fitted(X, 1.0, seed)[1] > 1).mean() for X in (values, load_digits().images / 16)]
    return ", ".join(f"{share:.4f}" for share in shares)


@case("whole numbers, cents, tenths kept, n = 2,000, epsilon 1: shares", "1, 1, 1")
def grain(seed):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": random.integers(17, 90, 2000).astype(float)})
    frame["price"], frame["weight"] = random.lognormal(3, 0.8, 2000).round(2), random.normal(70, 12, 2000).round(1)
    _, drawn = fitted(frame, 1.0, seed)
    kept = [np.isclose(drawn[of] * k, np.rint(drawn[of] * k)).mean() for of, k in zip(frame, (1, 100, 10), strict=True)]
    return ", ".join(f"{share:.3f}" for share in kept)


@case("600 x 35, of which 10 of categories, epsilon 1: median error of age, columns all `other`, silent", "told")
def small(seed):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({f"c{i}": random.lognormal(2, 1, 600) for i in range(24)})
    frame["age"] = random.integers(14, 85, 600)
    for i in range(10):
        frame[f"g{i}"] = random.choice(["a", "b", "c", "d"], 600, p=[0.5, 0.3, 0.15, 0.05])
    gen, drawn = fitted(frame, 1.0, seed)
    lost = [f"g{i}" for i in range(10) if (drawn[f"g{i}"] == "other").mean() > 0.9]
    off = drawn.age.median() - frame.age.median()
    return f"{off:+.0f}{' told' if 'age' in told(gen) else ''}, {len(lost)}, {len({*lost} - told(gen))}"


@case("a million rows x 20, epsilon 1: seconds of the clock, of processors, GB", "12 s")
def million(seed):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({f"c{i}": random.lognormal(i, 1, 1_000_000) for i in range(10)})
    for i in range(10):
        frame[f"g{i}"] = random.integers(0, 2 + i, 1_000_000)
    start, used = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoorFitWarning)
        DPSinkhornGenerator(1.0, random_state=seed).fit(frame)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{time.perf_counter() - start:.1f}, {time.process_time() - used:.1f}, {most:.1f}"


def main():
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of cases")
    arguments = parser.parse_args()
    print("| case | asked | measured, by seed |\n|---|---|---|")
    for name, (of, asked) in CASES.items():
        if any(part in name for part in arguments.only):
            print(f"| {name} | {asked} | {'; '.join(of(seed) for seed in range(arguments.seeds))} |", flush=True)


if __name__ == "__main__":
    main()
