"""
A wide table
============

Forty columns have 780 pairs, and a budget that is spent on so many counts is noise in each. But columns of a wide
table mostly go together by a few causes behind them. The second moments of all columns are released at once, as one
matrix: what columns share stands out of its noise, and the rest is dropped.

The table is made up: forty measurements, moved by four hidden causes, some of them skewed.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sinkgen import DPSinkhornGenerator

N_COLUMNS, N_CAUSES = 40, 4


def make_measurements(n, seed):
    """Made-up measurements of ``n`` people, between 0 and 100."""
    random = np.random.default_rng(seed)
    causes = random.normal(size=(n, N_CAUSES))
    of = np.random.default_rng(1)  # the same law for every seed
    weights = of.normal(size=(N_CAUSES, N_COLUMNS)) * (of.random((N_CAUSES, N_COLUMNS)) < 0.4)
    numbers = causes @ weights + random.normal(size=(n, N_COLUMNS))
    numbers[:, ::3] = np.exp(numbers[:, ::3] / 2.5) * 2 - 2  # every third column is skewed
    return pd.DataFrame((50 + 5 * numbers).clip(0, 100).round(1), columns=[f"m{j:02d}" for j in range(N_COLUMNS)])


people = make_measurements(10_000, seed=0)
people.iloc[:4, :8]

# %%
# All columns have the same public bounds, so the schema is one line.
start = time.perf_counter()
gen = DPSinkhornGenerator(epsilon=3, schema=dict.fromkeys(people, (0, 100)), random_state=0).fit(people)
fitted = time.perf_counter()
synthetic = gen.sample(10_000, random_state=0)
print(f"fitted in {fitted - start:.1f} s, drawn in {time.perf_counter() - fitted:.1f} s\n\n{gen.privacy_spent()}")

# %%
# The picture: correlations of all pairs by rank, columns put side by side that are alike. What to look for: the blocks
# are there, with their signs. Each of the pairs in the plot on the right would lie on the diagonal without noise; with
# columns drawn independently all would lie at height zero.
real, drawn = (frame.corr(method="spearman").to_numpy() for frame in (people, synthetic))
order = np.lexsort(np.sign(np.linalg.eigh(real)[1][:, -3:]).T)
upper = np.triu_indices(N_COLUMNS, 1)

figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
for axis, title, matrix in zip(axes, ("real", "synthetic, epsilon = 3"), (real, drawn), strict=False):
    shown = axis.imshow(matrix[np.ix_(order, order)], cmap="RdBu_r", vmin=-0.8, vmax=0.8)
    axis.set(title=title, xticks=[], yticks=[])
figure.colorbar(shown, ax=axes[1], shrink=0.8, label="rank correlation")
axes[2].plot([-0.8, 0.8], [-0.8, 0.8], color="black", linewidth=1)
axes[2].scatter(real[upper], drawn[upper], s=4, alpha=0.4)
axes[2].set(title="780 pairs", xlabel="real", ylabel="synthetic", aspect="equal")
plt.show()

# %%
# In numbers: how far a correlation is off on average, and how far it would be if columns were drawn each by itself. Two
# real samples of 10,000 differ, too.
other = make_measurements(10_000, seed=2).corr(method="spearman").to_numpy()
pd.Series(
    {
        "synthetic": np.abs(drawn - real)[upper].mean(),
        "columns each by itself": np.abs(real)[upper].mean(),
        "another real sample": np.abs(other - real)[upper].mean(),
    },
    name="mean error of a correlation",
).round(3)
