"""
Patients with several visits
============================

A patient comes more than once, and the promise shall hold for the patient, not for a visit. ``groups=`` says whose each
row is. With ``Marginals(whole_groups=True)`` whole patients are learned and drawn, each with all visits: sex stays the
same from visit to visit, and a weight is close to what it was.

The visits are made up here, so that this page needs no download; nothing below knows how they were made.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sinkgen import Column, DPSinkhornGenerator, Marginals, Schema


def make_visits(n, seed):
    """Made-up visits of ``n`` patients: one to eight each, of whom the heavy ones come more often."""
    random = np.random.default_rng(seed)
    sex = random.choice(["f", "m"], n)
    weight = random.normal(np.where(sex == "m", 84, 70), 11)
    n_visits = 1 + random.binomial(7, 1 / (1 + np.exp(1.2 - (weight - 77) / 12)))
    who = np.repeat(np.arange(n), n_visits)
    visits = pd.DataFrame({"patient": who, "sex": sex[who]})
    visits["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 365, len(who)), "D")
    visits["weight"] = (weight[who] + random.normal(0, 1.5, len(who))).round(1)
    visits["pulse"] = (72 + 0.4 * (visits["weight"] - 77) + random.normal(0, 6, len(who))).round()
    urgent = random.beta(0.4, 1.6, n)[who]
    visits["kind"] = np.where(random.random(len(who)) < urgent, "urgent", "planned")
    return visits.sort_values(["patient", "day"], ignore_index=True)


visits = make_visits(4_000, seed=0)
visits.head(6)

# %%
# The schema says what is public. ``of="group"`` says that a column is the same in all rows of a patient. The ids are
# no feature: they are never looked at but to tell patients apart, and made-up ones are drawn in their place.
schema = Schema(
    {
        "sex": Column(values=["f", "m"], of="group"),
        "day": Column(bounds=("2024-01-01", "2024-12-31"), step=24 * 3600),
        "weight": Column(bounds=(30, 180), step=0.1),
        "pulse": (30, 180),
        "kind": ["planned", "urgent"],
    }
)
start = time.perf_counter()
gen = DPSinkhornGenerator(epsilon=3, schema=schema, mechanism=Marginals(whole_groups=True), random_state=0)
gen.fit(visits, groups="patient")
print(f"fitted in {time.perf_counter() - start:.1f} s\n\n{gen.privacy_spent()}")

# %%
# Draw patients. Each comes with all visits, in the order of their days.
drawn = gen.sample(n_groups=4_000, random_state=0)
assert drawn.groupby("patient")["sex"].nunique().max() == 1
drawn.head(6)


# %%
# What to look for: lines of the synthetic patients are nearly as flat as those of the real ones, and as far apart. Rows
# that are drawn each by itself, ``gen.sample(n)``, would jump about.
def courses(axis, frame, title):
    """The weights of twelve patients who came five times or more."""
    often = frame.groupby("patient").filter(lambda rows: len(rows) >= 5)
    for _, rows in list(often.groupby("patient"))[:12]:
        axis.plot(rows["day"], rows["weight"], marker="o", markersize=3, linewidth=1)
    axis.set(title=title, ylabel="weight, kg", ylim=(40, 125))
    axis.tick_params(axis="x", rotation=30)


figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
courses(axes[0], visits, "twelve real patients")
courses(axes[1], drawn, "twelve synthetic ones, epsilon = 3")
counts = [frame.groupby("patient").size().value_counts(normalize=True).sort_index() for frame in (visits, drawn)]
for shift, share, name in zip((-0.2, 0.2), counts, ("real", "synthetic"), strict=True):
    axes[2].bar(share.index + shift, share, 0.4, label=name)
axes[2].set(title="visits of a patient", xlabel="number", ylabel="share of the patients")
axes[2].legend()
plt.show()


# %%
# The same in numbers: how alike two visits of one patient are, and what goes together from visit to visit.
def describe(frame):
    """What two neighbouring visits of a patient have in common, and other figures."""
    before = frame.groupby("patient")[["weight", "pulse"]].shift()
    urgent = frame["kind"] == "urgent"
    return {
        "visits of a patient": len(frame) / frame["patient"].nunique(),
        "weight, this visit and the last": frame["weight"].corr(before["weight"]),
        "pulse, this visit and the last": frame["pulse"].corr(before["pulse"]),
        "weight and pulse": frame["weight"].corr(frame["pulse"]),
        "share of women": (frame["sex"] == "f").mean(),
        "urgent": urgent.mean(),
        "urgent again": urgent[urgent.groupby(frame["patient"]).shift(fill_value=False)].mean(),
    }


pd.DataFrame({"real": describe(visits), "synthetic": describe(drawn)}).round(2)
