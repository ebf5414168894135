"""
What epsilon means for one person
=================================

Epsilon bounds what can be learned about one person from everything that is released. Two questions make the number
readable. How often can somebody guess rightly whether a given person took part, if a coin decided it? And what may
somebody who held it 10 % likely believe afterwards? Both answers hold against anybody, whatever they know besides.
"""

import matplotlib.pyplot as plt
import numpy as np

from sinkgen import PrivacySpent
from sinkgen.accounting import GaussianRelease, calibrate

# %%
# A fit whose releases all see every record is as private as one release of Gaussian noise. So one release, with the
# noise that a budget asks for, stands for a whole fit here. No data are needed: the promise does not depend on them.
EPSILONS = np.geomspace(0.05, 10, 40)


def statement(epsilon):
    """The statement of a fit with this budget."""
    return PrivacySpent.of([GaussianRelease("everything", calibrate(epsilon, 1e-5, 1.0, 1))], delta=1e-5)


guesses = np.array([statement(epsilon).best_guess() for epsilon in EPSILONS])
odds = np.exp(EPSILONS) / 9
beliefs = odds / (1 + odds)

for epsilon in (0.1, 1, 10):
    print(f"epsilon {epsilon:>4}: a guess is right at most {statement(epsilon).best_guess():.1%} of the time")

# %%
# At epsilon 0.1 nothing that matters can be learned about one person. At 1 the best guess is right five times in nine.
# At 10 the promise is weak: whoever knows nearly everything may recognise most of those who took part.
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharex=True)
panels = (
    (axes[0], guesses, 0.5, "A guess whether a given person took part", "right at most"),
    (axes[1], beliefs, 0.1, "A belief of 10 % that a given person took part", "afterwards at most"),
)
for axis, bound, before, title, label in panels:
    axis.fill_between(EPSILONS, before, bound, alpha=0.2, color="tab:blue")
    axis.plot(EPSILONS, bound, color="tab:blue")
    axis.axhline(before, color="0.4", linestyle="--", linewidth=1)
    axis.text(0.055, before - 0.025, "without the release", color="0.4", va="top")
    axis.set(title=title, xscale="log", ylim=(0, 1.02), xlabel="epsilon", ylabel=label)
    axis.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    axis.yaxis.set_major_formatter(lambda share, position: f"{100 * share:.0f} %")
    axis.grid(alpha=0.3)
plt.show()
