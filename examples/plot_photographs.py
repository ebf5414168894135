"""
Patches of photographs, in colour
=================================

Fits small patches of scikit-learn's two photographs, a temple and a flower, and draws new ones. Colour images go in as
an array of shape ``(n, height, width, 3)``; which of the two a patch is from is its label.

What to look for: colours that belong together stay so, many smooth patches stay smooth, and details lie where
brightness varies. What is not right: details are grain, so that edges of roofs and petals come out as speckled as
leaves. A patch holds no face and no secret; pretend that each is another person's.
"""

import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.ensemble import RandomForestClassifier

from sinkgen import DPSinkhornGenerator

SIDE, N_PATCHES, N_TEST = 20, 4000, 500

# %%
# Four thousand patches of each photograph, from places drawn at random; five hundred more to test on, from its last
# fifth, which no other patch comes from.
random = np.random.default_rng(0)


def patches(photo, n, from_row, to_row):
    """So many patches of a photograph, between two of its rows."""
    rows = random.integers(from_row, to_row - SIDE, n)
    columns = random.integers(0, photo.shape[1] - SIDE, n)
    return np.stack([photo[r : r + SIDE, c : c + SIDE] for r, c in zip(rows, columns, strict=True)])


photos = load_sample_images().images
cut = int(0.8 * len(photos[0]))
X = np.concatenate([patches(photo, N_PATCHES, 0, cut) for photo in photos])
X_test = np.concatenate([patches(photo, N_TEST, cut, len(photo)) for photo in photos])
y, y_test = (np.repeat(["temple", "flower"], n) for n in (N_PATCHES, N_TEST))

# %%
# The bounds of pixels follow from their dtype, and the labels are declared.
start = time.perf_counter()
gen = DPSinkhornGenerator(epsilon=10, classes=["flower", "temple"], random_state=0).fit(X, y)
fitted = time.perf_counter()
X_new, y_new = gen.sample(4000, random_state=0)
print(f"{len(X)} patches of {SIDE} x {SIDE} x 3: fitted in {fitted - start:.0f} s, ", end="")
print(f"{len(X_new)} drawn in {time.perf_counter() - fitted:.1f} s\n")
print(gen.privacy_spent(), "\n")


# %%
# A forest that never saw a real patch, beside one that did.
def accuracy(X, y):
    """Accuracy, on patches of elsewhere, of a forest trained on these."""
    forest = RandomForestClassifier(100, random_state=0)
    return forest.fit(X.reshape(len(X), -1), y).score(X_test.reshape(len(X_test), -1), y_test)


print("random forest, tested on real patches of another part of the photographs:")
print(f"  trained on 4,000 real patches       {accuracy(X[::2], y[::2]):6.1%}")
print(f"  trained on 4,000 synthetic patches  {accuracy(X_new, y_new):6.1%}")


# %%
# The picture: above the temple, below the flower.
def sheet(images, labels):
    """Four rows of eight patches of each photograph."""
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    chosen = [framed[labels == label] for label in ("temple", "flower")]
    chosen = [own[random.permutation(len(own))[:32]] for own in chosen]
    return np.vstack([np.hstack(list(row)) for own in chosen for row in own.reshape(4, 8, *own.shape[1:])])


figure, axes = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
for axis, title, part in zip(axes, ("real", "synthetic, epsilon = 10"), ((X, y), (X_new, y_new)), strict=True):
    axis.imshow(sheet(*part))
    axis.set_title(title)
    axis.axis("off")

if "SINKGEN_OUTPUT" in os.environ:
    target = Path(os.environ["SINKGEN_OUTPUT"])
    target.mkdir(parents=True, exist_ok=True)
    figure.savefig(target / "photographs.png", dpi=120)
    print(f"\npicture: {target / 'photographs.png'}")
else:
    plt.show()
