"""Generators: what draws encoded records of a given class.

A generator never sees a record; it is made of released numbers alone. Networks are plain torch modules: a factory
``factory(latent_dim, output_shape, n_classes)`` returns a module that maps latents (m, latent_dim) and labels (m,) to
(m, *output_shape) in [0, 1]. The user's own module works as well as those below.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from sinkgen._validation import check_choice

LATENT_DIM = 32


class Network(nn.Module):
    """Draws by a network from normal latents.

    Parameters
    ----------
    module : torch.nn.Module
        Maps latents (m, latent_dim) and labels (m,) to (m, *output_shape).
    latent_dim : int
    """

    def __init__(self, module, latent_dim=LATENT_DIM):
        super().__init__()
        self.module, self.latent_dim = module, latent_dim

    def forward(self, latents, labels):
        """Encoded records (m, D) in [0, 1], differentiable."""
        return self.module(latents, labels).flatten(1)

    @property
    def device(self):
        """Where the weights lie."""
        return next(self.parameters()).device

    def latents(self, n, random):
        """Normal latents (n, latent_dim), where the weights lie."""
        return torch.randn(n, self.latent_dim, generator=random).to(self.device)

    @torch.no_grad()
    def draw(self, labels, random):
        """Encoded records (m, D) of the given classes (m,)."""
        self.eval()
        parts = [self(self.latents(len(part), random), part.to(self.device)).cpu() for part in labels.split(4096)]
        self.train()
        return torch.cat(parts).clamp(0, 1)


class MLP(nn.Module):
    """A perceptron with two hidden layers, for rows of numbers.

    Parameters
    ----------
    latent_dim : int
    output_shape : tuple of int
    n_classes : int
    width : int
    """

    def __init__(self, latent_dim, output_shape, n_classes, width=256):
        super().__init__()
        self.n_classes, self.output_shape = n_classes, tuple(output_shape)
        self.body = nn.Sequential(
            nn.Linear(latent_dim + n_classes, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, math.prod(output_shape)), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, latents, labels):
        """Records (m, *output_shape) in [0, 1]."""
        return self.body(_with_classes(latents, labels, self.n_classes)).view(-1, *self.output_shape)


class Conv(nn.Module):
    """An upsampling convolutional network, for images of any size.

    Starts at a quarter of the height and width and doubles twice; group norm, since batch statistics would tie the
    records of a batch to each other.

    Parameters
    ----------
    latent_dim : int
    output_shape : (h, w) or (h, w, c)
    n_classes : int
    width : int
        Channels at the smallest size.
    """

    def __init__(self, latent_dim, output_shape, n_classes, width=96):
        super().__init__()
        self.n_classes, self.output_shape = n_classes, tuple(output_shape)
        height, width_, channels = (*output_shape, 1)[:3]
        self.sizes = [(math.ceil(height / s), math.ceil(width_ / s)) for s in (4, 2, 1)]
        self.start = nn.Linear(latent_dim + n_classes, width * math.prod(self.sizes[0]))
        widths = [width, width // 2, width // 4]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.ReLU())
            for a, b in zip([width, *widths], widths, strict=False)
        )
        self.last = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, latents, labels):
        """Images (m, *output_shape) in [0, 1]."""
        x = self.start(_with_classes(latents, labels, self.n_classes))
        x = F.relu(x).view(len(latents), -1, *self.sizes[0])
        for size, block in zip(self.sizes, self.blocks, strict=True):
            x = block(F.interpolate(x, size=size))
        return torch.sigmoid(self.last(x)).permute(0, 2, 3, 1).reshape(-1, *self.output_shape)


def _with_classes(latents, labels, n_classes):
    return torch.cat([latents, F.one_hot(labels, n_classes).to(latents)], 1)


FACTORIES = {"mlp": MLP, "conv": Conv}


def network_name(generator, form):
    """What ``generator`` stands for: "auto" is "conv" for images, else "mlp"."""
    if generator != "auto":
        return generator
    return "conv" if len(form.network_shape) > 1 else "mlp"


def make_network(generator, output_shape, n_classes, random):
    """A fresh network, its weights drawn from the stream ``random`` and no other.

    Parameters
    ----------
    generator : {"mlp", "conv"} or callable
        Name, or a factory ``(latent_dim, output_shape, n_classes) -> torch.nn.Module``.
    output_shape : tuple of int
    n_classes : int
    random : torch.Generator

    Returns
    -------
    Network

    Raises
    ------
    TypeError
        If the factory returns something else than a module.
    ValueError
        If the name is unknown, "conv" is asked for rows of numbers, or the module's output has another shape.
    """
    factory = generator if callable(generator) else FACTORIES[check_choice("generator", generator, list(FACTORIES))]
    if factory is Conv and len(output_shape) < 2:
        raise ValueError("generator='conv' makes images; give image_shape, or use 'mlp' or 'particles'")
    with torch.random.fork_rng(devices=[]):  # torch initialises layers from the global stream: lend it, and restore
        torch.manual_seed(int(torch.randint(2**62, (), generator=random)))
        module = factory(LATENT_DIM, tuple(output_shape), n_classes)
    if not isinstance(module, nn.Module):
        raise TypeError(f"the generator's factory must return a torch.nn.Module, got {type(module).__name__}")
    network = Network(module)
    with torch.no_grad():
        shape = module(torch.zeros(2, LATENT_DIM), torch.zeros(2, dtype=torch.long)).shape
    if tuple(shape) != (2, *output_shape):
        raise ValueError(
            f"the generator's module must map 2 latents to (2, *{tuple(output_shape)}), got {tuple(shape)}"
        )
    return network
