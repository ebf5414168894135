"""
Handwritten digits, real beside synthetic
=========================================

Fits scikit-learn's digits at epsilon 10 and 1, prints the privacy statement, and asks what synthetic data are for:
how well does a classifier that never saw a real digit read real digits?

A real digit differs from a synthetic one most in its background; what to look for in the picture is whether a row
holds different hands, and how much of that is left at epsilon 1.
"""

import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sinkgen import DPSinkhornGenerator

# %%
# Real digits: 8 x 8 pixels from 0 to 16. Their bounds and the set of labels are public knowledge, so we declare them;
# nothing then has to be learned from the data on the privacy budget.
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)


def accuracy(X, y):
    """Accuracy on real test digits of 3 nearest neighbours among the given ones."""
    return KNeighborsClassifier(3).fit(X, y).score(X_test, y_test)


# %%
# One line for each budget. ``sample`` returns arrays like those fitted.
synthetic = {}
for epsilon in (10, 1):
    start = time.perf_counter()
    gen = DPSinkhornGenerator(epsilon, schema=(0, 16), image_shape=(8, 8), classes=range(10), random_state=0)
    gen.fit(X_train, y_train)
    synthetic[epsilon] = gen.sample(500, random_state=0)
    print(f"=== epsilon {epsilon}: fitted in {time.perf_counter() - start:.1f} s\n")
    print(gen.privacy_spent(), "\n")

# %%
# Train on synthetic, test on real, beside train on real.
print("3 nearest neighbours, tested on real digits:")
print(f"  trained on {len(X_train)} real digits            {accuracy(X_train, y_train):6.1%}")
for epsilon, (X_new, y_new) in synthetic.items():
    print(f"  trained on 500 synthetic, epsilon {epsilon:<3}     {accuracy(X_new, y_new):6.1%}")


# %%
# The picture: each row one digit, each column one draw.
def sheet(images, labels):
    """Ten draws of each digit, with a margin of one pixel."""
    framed = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    rows = [framed[labels == digit][:10] for digit in range(10)]
    rows = [np.concatenate([row, np.zeros((10 - len(row), 10, 10))]) for row in rows]
    return np.vstack([np.hstack(list(row)) for row in rows])


figure, axes = plt.subplots(1, 3, figsize=(12, 4.4), layout="constrained")
columns = {"real": (X_train, y_train)} | {f"synthetic, epsilon = {epsilon}": new for epsilon, new in synthetic.items()}
for axis, (title, (images, labels)) in zip(axes, columns.items(), strict=True):
    axis.imshow(sheet(images, labels), cmap="gray_r", vmin=0, vmax=16)
    axis.set_title(title)
    axis.axis("off")

if "SINKGEN_OUTPUT" in os.environ:
    target = Path(os.environ["SINKGEN_OUTPUT"])
    target.mkdir(parents=True, exist_ok=True)
    figure.savefig(target / "digits.png", dpi=120)
    print(f"\npicture: {target / 'digits.png'}")
else:
    plt.show()
