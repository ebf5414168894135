"""Whole persons of a made-up panel: how far what is drawn with all its rows is from what was fitted. JSON lines.

    python benchmarks/panel.py --epsilon 1 10

A panel has 5,000 persons with 1 to 30 visits: three columns that are constant within a person, dates, a weight with a
trend of its own for each person, a score that follows it, and a kind of visit by habit. Nothing is declared. ``--shape
shop`` is another (3,000 persons, other numbers of rows and correlations): constants are set on it, and on other seeds,
and figures are reported of "clinic".

"constant": share of the persons in whom the three columns are the same in all rows. "ordered": share with dates in
order. "rows": how far the mean number of rows is off, relatively. "sizes": total variation distance of numbers of rows.
"row", "across", "rest": correlations of columns within a row, of one row of a person with another, and of what rows of
a person differ by from its mean; each as the mean and the largest distance from the real, over pairs of columns. Rows
share a weight of one a person, and missing cells are the mean.
"""

import argparse
import json
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sinkgen import DPSinkhornGenerator, Marginals
from sinkgen.exceptions import PoorFitWarning, ReproducibleNoiseWarning

CONSTANT = ["sex", "born", "region"]
KINDS = ["check", "phone", "urgent"]


@dataclass(frozen=True)
class Shape:
    """How a panel comes about.

    Attributes
    ----------
    n : int
        Persons.
    most : int
        Rows of a person.
    rows : float
        Mean of a person's rows beyond the first.
    uneven : float
        Shape of the gamma distribution of that mean over persons.
    fixed : float
        Share of the persons who have just so many rows as there are in a usual course, of six.
    trend, own : float
        Of the weight a year, and its deviation over persons.
    noise : float
        Deviation of single weights.
    habit : float
        Dirichlet concentration of kinds of visits: small for strong habits.
    """

    n: int
    most: int
    rows: float
    uneven: float
    fixed: float
    trend: float
    own: float
    noise: float
    habit: float


SHAPES = {
    "clinic": Shape(5000, 30, 6.0, 1.5, 0.0, 2.0, 2.0, 3.0, 0.5),
    "shop": Shape(3000, 24, 9.0, 4.0, 0.15, -3.0, 1.0, 4.0, 1.5),
}


def panel(shape, seed):
    """Rows of all persons, in a random order."""
    random, n = np.random.default_rng(seed), shape.n
    n_rows = 1 + random.poisson(random.gamma(shape.uneven, shape.rows / shape.uneven, n))
    n_rows = np.where(random.random(n) < shape.fixed, 6, n_rows).clip(max=shape.most)
    who = np.repeat(np.arange(n), n_rows)
    sex, born = random.choice(["f", "m"], n), random.integers(1940, 2000, n)
    region = random.choice(list("nesw"), n, p=[0.4, 0.3, 0.2, 0.1])
    years = random.uniform(0, 4, n)[who] + random.uniform(0, 2, len(who))
    level = random.normal(size=n) + 0.02 * (1970 - born) + 0.6 * (sex == "m")
    trend = random.normal(shape.trend, shape.own, n)
    weight = 75 + 8 * level[who] + trend[who] * (years - 3) + shape.noise * random.normal(size=len(who))
    score = 50 - 0.5 * weight + 4 * random.normal(size=n)[who] + 2 * random.normal(size=len(who))
    habits = random.dirichlet([shape.habit] * 3, n)[who].cumsum(1)
    kind = np.array(KINDS)[(habits < random.random(len(who))[:, None]).sum(1).clip(max=2)]
    date = pd.Timestamp("2015-01-01") + pd.to_timedelta((365 * years).astype(int), "D")
    frame = pd.DataFrame(
        {
            "seen": date, "who": who, "sex": sex[who], "born": born[who], "region": region[who],
            "weight": weight.round(1), "score": score.round(1), "kind": kind,
        }
    )  # fmt: skip
    return frame.sample(frac=1, random_state=seed, ignore_index=True)


def correlations(frame):
    """Of columns of a panel: in a row and across rows of a person (p, p), and of what these differ by (q, q)."""
    numbers = frame[["weight", "score"]].assign(seen=frame["seen"].astype("datetime64[s]").astype("int64"))
    numbers = numbers.assign(**{f"kind {value}": frame["kind"] == value for value in KINDS[1:]})
    q = numbers.shape[1]
    numbers = numbers.assign(born=frame["born"], sex=frame["sex"] == "m", region=frame["region"] == "n").astype(float)
    numbers = numbers.fillna(numbers.mean())
    m = frame.groupby("who")["who"].transform("size")
    numbers, who, m = numbers[m > 1], frame["who"][m > 1], m[m > 1].to_numpy()[:, None]
    centred = (numbers - (numbers / m).sum() / (1 / m).sum()).to_numpy()
    means = pd.DataFrame(centred).groupby(who.to_numpy()).transform("mean").to_numpy()
    row = (centred / m).T @ centred
    across = (means / (m - 1)).T @ means - (centred / (m * (m - 1))).T @ centred
    rest = (row - across)[:q, :q]
    of_row, of_rest = (np.sqrt(np.where(of.diagonal() > 0, of.diagonal(), np.inf)) for of in (row, rest))
    return {
        "row": row / of_row / of_row[:, None],
        "across": across / of_row / of_row[:, None],
        "rest": rest / of_rest / of_rest[:, None],
    }


def scores(real, made):
    """How far made persons are from real ones."""
    out = {
        "constant": float((made.groupby("who")[CONSTANT].nunique(dropna=False) == 1).all(axis=1).mean()),
        "ordered": float(made.groupby("who")["seen"].apply(lambda dates: dates.is_monotonic_increasing).mean()),
    }
    n_rows = [part.groupby("who").size() for part in (real, made)]
    out["rows"] = float(abs(n_rows[1].mean() / n_rows[0].mean() - 1))
    one, other = (part.value_counts(normalize=True) for part in n_rows)
    out["sizes"] = float(one.sub(other, fill_value=0).abs().sum() / 2)
    one, other = correlations(real), correlations(made)
    for name, wanted in one.items():
        off = np.abs(other[name] - wanted)
        off = off[np.triu_indices(len(off), int(name != "across"))]
        out |= {name: float(off.mean()), f"{name}, largest": float(off.max())}
    return out


def main():
    """Print one line an epsilon."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epsilon", type=float, nargs="*", default=[1.0, 10.0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="clinic")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ReproducibleNoiseWarning)
    warnings.simplefilter("ignore", PoorFitWarning)
    first = 0 if args.shape == "clinic" else 100
    for epsilon in args.epsilon:
        found = []
        for seed in range(first, first + args.seeds):
            real = panel(SHAPES[args.shape], seed)
            gen = DPSinkhornGenerator(
                epsilon, mechanism=Marginals(whole_groups=True), random_state=seed, noise_seed=seed
            )
            start = time.process_time()
            gen.fit(real, groups="who")
            seconds = time.process_time() - start
            made = gen.sample(n_groups=SHAPES[args.shape].n, random_state=seed)
            found.append(scores(real, made) | {"seconds": seconds})
        row = {"shape": args.shape, "epsilon": epsilon, "seeds": args.seeds}
        means = {key: round(float(np.mean([one[key] for one in found])), 4) for key in found[0]}
        print(json.dumps(row | means), flush=True)


if __name__ == "__main__":
    main()
