"""
Bring your own generator network
================================

What a fit releases is a noisy mixture of points; everything after it is free of cost. So the network that draws in the
end can be your own, can be trained as often as you like on the same release, and can be chosen by looking at it.

Why a network, if drawing from the released points already works? Because it has a latent space: between any two of its
images lie others.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from sinkgen import DPSinkhornGenerator

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

# %%
# The private part, once.
gen = DPSinkhornGenerator(epsilon=10, schema=(0, 16), image_shape=(8, 8), classes=range(10), random_state=0)
gen.fit(X_train, y_train)


# %%
# The network: any torch module that maps latents (m, latent_dim) and classes (m,) to records (m, \*output_shape) in
# [0, 1]. A factory makes it, so that it can be made anew. Here each class has an embedding that scales and shifts the
# latents' features.
class Modulated(nn.Module):
    """A perceptron whose hidden features are scaled and shifted by class."""

    def __init__(self, latent_dim, output_shape, n_classes, width=128):
        super().__init__()
        self.output_shape = output_shape
        self.first = nn.Linear(latent_dim, width)
        self.by_class = nn.Embedding(n_classes, 2 * width)
        self.last = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, int(np.prod(output_shape)))
        )

    def forward(self, latents, labels):
        """Records (m, *output_shape) in [0, 1]."""
        scale, shift = self.by_class(labels).chunk(2, 1)
        hidden = self.first(latents) * (1 + scale) + shift
        return torch.sigmoid(self.last(hidden)).view(-1, *self.output_shape)


network = DPSinkhornGenerator.from_release(gen.release_, generator=Modulated, random_state=0)
assert network.privacy_spent() == gen.privacy_spent()
print(network.privacy_spent())


# %%
# Both draw digits that a classifier learns from.
def accuracy(X, y):
    """Accuracy on real test digits of 3 nearest neighbours among the given ones."""
    return KNeighborsClassifier(3).fit(X, y).score(X_test, y_test)


print(f"released points with variation   {accuracy(*gen.sample(500, random_state=0)):.1%}")
print(f"your network                     {accuracy(*network.sample(500, random_state=0)):.1%}")

# %%
# A walk through the latent space: one row a digit, from one latent to another in eleven steps, along the arc between
# them, for normal latents all lie at about the same distance from zero.
module = network.generator_.module.eval()
latent_dim = network.generator_.latent_dim
ends = torch.randn(2, latent_dim, generator=torch.Generator().manual_seed(3))
arc = torch.linspace(0, torch.pi / 2, 11)[:, None]
path = arc.cos() * ends[0] + arc.sin() * ends[1]
with torch.no_grad():
    rows = [module(path, torch.full((11,), digit)).numpy() for digit in range(10)]

figure, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained", width_ratios=(1, 1.1))
drawn, _ = network.sample(y=np.repeat(np.arange(10), 10), random_state=0)
sheets = {
    "ten draws of each digit": drawn.reshape(10, 10, 8, 8) / 16,
    "a walk through the latent space": np.stack(rows),
}
for ax, (title, images) in zip(axes, sheets.items(), strict=True):
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    ax.imshow(np.vstack([np.hstack(list(row)) for row in framed]), cmap="gray_r", vmin=0, vmax=1)
    ax.set_title(title)
    ax.axis("off")
plt.show()

# %%
# A network of your own is saved with its weights alone, without code: give its factory when loading,
# ``DPSinkhornGenerator.load(folder, generator=Modulated)``.
