"""
A table with a schema
=====================

A clinic wants to share its register, a table of mixed kinds: numbers, categories, dates, missing cells, a cost that is
zero for many, ids, and two dates of which one never lies before the other. What is public about it, that an age lies
between 0 and 110 say, goes into a schema; the rest is private.

The register is made up here, so that this page needs no download; nothing below knows how it was made.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sinkgen import Column, DPSinkhornGenerator, FidelityDisplay, Inequality, Schema, score_report


def make_register(n, seed):
    """A made-up register of ``n`` people, and whether each came back within a month."""
    random = np.random.default_rng(seed)
    age = np.clip(random.normal(55, 19, n), 0, 110).round().astype(int)
    smoker = random.random(n) < np.where(age < 18, 0.02, 0.28)
    weight = random.normal(26 + 0.05 * (age - 50) - 1.5 * smoker, 4).clip(14, 55).round(1)
    ward = np.where(age < 18, "children", random.choice(["heart", "surgery", "general"], n, p=[0.3, 0.3, 0.4]))
    stay = random.poisson(np.where(ward == "heart", 6, 3) + age / 40)
    cost = np.where(random.random(n) < 0.35, 0, random.lognormal(6 + 0.1 * stay, 0.7)).clip(0, 20_000).round(2)
    arrived = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 366, n), "D")
    back = random.random(n) < 1 / (1 + np.exp(3.2 - 0.02 * age - 0.9 * smoker - 0.12 * stay))
    frame = pd.DataFrame(
        {"age": age, "smoker": smoker, "bmi": weight, "ward": ward, "stay": stay, "cost": cost, "arrived": arrived}
    )
    frame["left"] = arrived + pd.to_timedelta(stay, "D")
    frame.insert(0, "patient", [f"P{i:06d}" for i in random.permutation(10**6)[:n]])
    frame.loc[random.random(n) < 0.15, "bmi"] = np.nan
    return frame, np.where(back, "back", "well")


people, outcome = make_register(12_000, seed=0)
people.head()

# %%
# Two in three are used to fit, the others to measure what the result is good for.
#
# A pair bounds a number, a list holds categories, and :class:`~sinkgen.Column` says more. Booleans declare themselves
# by their dtype. An id has a pattern: it is never looked at, and made-up ids are drawn. A rule holds in every record
# that is drawn. Nothing here was read off the register: it is what the hospital's own form says. ``Schema`` checks it
# and keeps it as JSON.
schema = Schema(
    {
        "patient": Column(pattern="P[0-9]{6}", unique=True),
        "age": (0, 110),
        "bmi": Column(bounds=(10, 60), nullable=True, step=0.1),
        "ward": ["children", "general", "heart", "surgery"],
        "stay": (0, 60),
        "cost": Column(bounds=(0, 20_000), step=0.01),
        "arrived": Column(bounds=("2024-01-01", "2024-12-31"), step=24 * 3600),
        "left": Column(bounds=("2024-01-01", "2025-03-01"), step=24 * 3600),
    },
    rules=[Inequality("arrived", "left")],
)
train, test = slice(0, 8_000), slice(8_000, None)
start = time.perf_counter()
gen = DPSinkhornGenerator(epsilon=1, schema=schema, classes=["back", "well"], random_state=0)
gen.fit(people[train], outcome[train])
print(f"fitted in {time.perf_counter() - start:.1f} s\n\n{gen.privacy_spent()}")

# %%
# What is drawn has the columns, dtypes and missing cells of the register. It is free: draw as many as you like.
synthetic, synthetic_outcome = gen.sample(8_000, random_state=0)
assert (synthetic.dtypes == people.dtypes).all()
assert synthetic["patient"].is_unique
assert (synthetic["arrived"] <= synthetic["left"]).all()
synthetic.head()

# %%
# Records of a certain kind come by weights, not by throwing others away.
hearts, _ = gen.sample(1_000, conditions={"ward": "heart", "age": (70, 110)}, random_state=0)
hearts[["age", "ward", "stay"]].describe().loc[["count", "mean", "min", "max"]]

# %%
# How good is it? Each column by itself, real and synthetic laid over each other. What sticks out is noise: a bin's
# share is off by about as much everywhere, which shows where shares are small.
real, synthetic = people[train].drop(columns="patient"), synthetic.drop(columns="patient")
figure, axes = plt.subplots(2, 4, figsize=(11, 5.2), layout="constrained")
FidelityDisplay.from_samples(real, synthetic, axes=axes)
figure.suptitle("One-way marginals at epsilon 1")

# %%
# Together: correlations, and how well models trained on synthetic people predict who comes back among real ones that
# nobody had seen. "real" is the mark to reach: the same measured with real training records.
FidelityDisplay.from_samples(real, synthetic, kind="correlations")
plt.show()

# %%
report = score_report(
    (real, outcome[train]),
    (synthetic, synthetic_outcome),
    test=(people[test].drop(columns="patient"), outcome[test]),
    random_state=0,
)
report.round(3)
