r"""
Transport alone
===============

``sinkgen.ot`` solves entropic transport and is useful without any privacy: here the colours of one photograph are
carried over to another, and a cloud of points is moved onto a shape by the gradient of a loss.

.. math:: W_{reg}(a, b) = \min_P \langle P, C \rangle + reg \, KL(P \,|\, a b^T)
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image

from sinkgen.ot import SquaredEuclideanCost, entropic_cost, sinkhorn, sinkhorn_divergence

# %%
# Colours
# -------
# Two photographs that come with scikit-learn. Each becomes a palette of 256 colours with weights: how many of its
# pixels are of each.
temple, flower = (load_sample_image(name)[::3, ::3] / 255 for name in ("china.jpg", "flower.jpg"))


def palette(image):
    """Colours (256, 3) of an image, their weights (256,), and which is each pixel's."""
    means = KMeans(256, n_init=1, max_iter=10, random_state=0).fit(image.reshape(-1, 3))
    weights = np.bincount(means.labels_, minlength=256) / len(means.labels_)
    return torch.from_numpy(means.cluster_centers_), torch.from_numpy(weights), means.labels_


colours, weights, where = palette(temple)
target, target_weights, _ = palette(flower)

# %%
# The plan says how much of each colour goes where. ``result.apply`` multiplies by it without forming it, so that the
# mean colour that each one goes to is one line. The smaller ``reg``, the sharper the plan; the larger, the more every
# colour goes to the same mean.
C = SquaredEuclideanCost().matrix(colours, target)
recoloured = {}
for share in (0.5, 0.05, 0.002):
    start = time.perf_counter()
    result = sinkhorn(C, share * float(C.mean()), weights, target_weights)
    seconds = time.perf_counter() - start
    mapped = result.apply(target) / weights[:, None]
    recoloured[share] = mapped.numpy()[where].reshape(temple.shape).clip(0, 1)
    print(f"reg = {share:g} mean cost: {result.status} after {result.n_iter} iterations, {1000 * seconds:.1f} ms")

figure, axes = plt.subplots(1, 5, figsize=(13, 2.0), layout="constrained")
pictures = {"photograph": temple, "colours wanted": flower}
pictures |= {f"reg = {share:g} mean cost": image for share, image in recoloured.items()}
for ax, (title, image) in zip(axes, pictures.items(), strict=True):
    ax.imshow(image)
    ax.set_title(title, fontsize=10)
    ax.axis("off")

# %%
# Points
# ------
# The losses are differentiable: gradients by the envelope theorem, without a graph of the iterations. Move 400 points
# along the gradient of the transport cost to a heart of 800, and they shrink towards its middle: entropy rewards plans
# that are spread out. The Sinkhorn divergence takes the cost of the points among themselves off again, and they fill
# the shape. Its variant with ``debias=0.2`` (arXiv 2111.01177) does the same for points that are drawn anew at each
# step, as a generator's are.
square = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)) * 2.6 - 1.3
across, up = square.T
heart = square[(across**2 + up**2 - 1) ** 3 - across**2 * up**3 <= 0][:800]


def flow(loss, steps=100):
    """Points (400, 2) after gradient steps on ``loss``."""
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(2)) * 0.2
    for _ in range(steps):
        x = x.detach().requires_grad_()
        loss(x).backward()
        x = x - 0.1 * len(x) * x.grad  # a point's weight is 1 / len(x)
    return x.detach()


shapes = {
    "points wanted": heart,
    "along the entropic cost": flow(lambda x: entropic_cost(x, heart, reg=0.3)),
    "along the Sinkhorn divergence": flow(lambda x: sinkhorn_divergence(x, heart, reg=0.3)),
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.1), layout="constrained", sharex=True, sharey=True)
for ax, (title, points) in zip(axes, shapes.items(), strict=True):
    ax.plot(*points.T, ".", markersize=3, color="C3" if points is heart else "C0")
    ax.set(title=title, aspect="equal", xticks=[], yticks=[])
plt.show()
