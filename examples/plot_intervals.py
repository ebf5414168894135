"""
Intervals that know of the noise
================================

A mean of synthetic rows looks like any mean, and its textbook interval is too narrow: it knows nothing of the noise
that privacy needed. Two other intervals do, at no cost of privacy: that of the released counts, and that of several
plausible data sets.

The people are made up here, so that the truth is known and can be set beside the intervals.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sinkgen import DPSinkhornGenerator, inference


def make_people(n, seed):
    """Made-up people: age, hours of work, region, and who smokes."""
    random = np.random.default_rng(seed)
    age = random.uniform(18, 90, n).round()
    hours = random.normal(38 - 0.1 * (age - 48), 8, n).clip(0, 80).round()
    region = random.choice(["north", "south", "west"], n, p=[0.55, 0.35, 0.1])
    smokes = random.random(n) < 1 / (1 + np.exp(1 + 0.03 * (age - 48) - 0.5 * (region == "south")))
    return pd.DataFrame({"age": age, "hours": hours, "region": region, "smokes": np.where(smokes, "yes", "no")})


everybody = make_people(500_000, seed=1)
sample = make_people(2_000, seed=0)

# %%
# One fit, at epsilon 1.
schema = {"age": (18, 90), "hours": (0, 80), "region": ["north", "south", "west"], "smokes": ["no", "yes"]}
start = time.perf_counter()
gen = DPSinkhornGenerator(epsilon=1, schema=schema, random_state=0).fit(sample)
print(f"fitted in {time.perf_counter() - start:.1f} s\n\n{gen.privacy_spent()}")

# %%
# Counts were released with noise of known size, so they answer by themselves, with an interval. ``share of the
# variance`` by privacy tells whether more people or a larger epsilon would help.
print(gen.release_.mean("age"))
print(gen.release_.proportion({"smokes": "yes"}))

# %%
# Any other question is put to several data sets. Each is drawn for counts that may have been the true ones; what they
# differ by is the doubt that the noise leaves. :func:`sinkgen.inference.combine` does so for an analysis of your own:
# give it an estimate and its variance for each data set.
start = time.perf_counter()
sets = gen.sample_posterior(m=20, random_state=0)
print(f"{len(sets)} data sets of {len(sets[0])} rows in {time.perf_counter() - start:.1f} s")

correlations = [data["age"].corr(data["hours"]) for data in sets]
print("age and hours:", inference.combine(correlations, [(1 - r**2) ** 2 / len(sets[0]) for r in correlations]))

# %%
# The picture. The line is the truth, and intervals are of 95 %. What to look for: those of a single synthetic data set,
# computed as if it were real, are the shortest, and so they miss the truth more often than they say. A picture
# of one fit cannot show how often: `What synthetic data can and cannot tell <../inference.html>`_ counts it.
alone = gen.sample(len(sample), random_state=0)
south = {"region": "south", "smokes": "yes"}
questions = {
    "mean age": ({"column": "age"}, inference.mean, everybody["age"].mean()),
    "mean hours": ({"column": "hours"}, inference.mean, everybody["hours"].mean()),
    "median age": ({"column": "age"}, inference.quantile, everybody["age"].median()),
    "smokes": ({"conditions": {"smokes": "yes"}}, inference.proportion, (everybody["smokes"] == "yes").mean()),
    "lives in the west": (
        {"conditions": {"region": "west"}},
        inference.proportion,
        (everybody["region"] == "west").mean(),
    ),
    "smokes in the south": (
        {"conditions": south},
        inference.proportion,
        ((everybody["smokes"] == "yes") & (everybody["region"] == "south")).mean(),
    ),
}


def naive(asked, function):
    """The textbook interval of one synthetic data set: a mean and its standard error, or none for a median."""
    if function is inference.quantile:
        return None
    values = alone[asked["column"]] if "column" in asked else _meets(alone, asked["conditions"])
    middle, error = values.mean(), values.std() / np.sqrt(len(values))
    return middle - 1.96 * error, middle, middle + 1.96 * error


def _meets(frame, conditions):
    return np.logical_and.reduce([frame[name] == wanted for name, wanted in conditions.items()]).astype(float)


def direct(asked, function):
    """The interval of the released counts: of means, and of shares of one column."""
    if function is inference.quantile or len(asked.get("conditions", {})) > 1:
        return None
    return ends(getattr(gen.release_, function.__name__)(next(iter(asked.values()))))


def several(asked, function):
    """The interval of twenty plausible data sets."""
    return ends(function(sets, **asked))


def ends(estimate):
    """Low end, middle and high end."""
    low, high = estimate.interval()
    return low, estimate.estimate, high


figure, axes = plt.subplots(2, 3, figsize=(10, 4.4), layout="constrained")
kinds = {"one data set, as if real": naive, "released counts": direct, "twenty data sets": several}
for axis, (title, (asked, function, truth)) in zip(axes.flat, questions.items(), strict=True):
    for height, kind in enumerate(reversed(kinds.values())):
        found = kind(asked, function)
        if found is not None:
            axis.plot([found[0], found[2]], [height, height], color=f"C{height}", linewidth=3, solid_capstyle="butt")
            axis.plot(found[1], height, "o", color=f"C{height}")
    axis.axvline(truth, color="black", linewidth=1)
    names = list(reversed(kinds)) if axis in axes[:, 0] else []
    axis.set(title=title, yticks=range(len(names)), yticklabels=names, ylim=(-0.6, 2.6))
plt.show()
