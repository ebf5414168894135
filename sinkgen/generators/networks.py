"""Generators: what draws encoded records of a given class.

A generator never sees a record; it is made of released numbers alone. Networks are plain torch modules: a factory
``factory(latent_dim, output_shape, n_classes)`` returns a module that maps latents (m, latent_dim) and labels (m,) to
(m, *output_shape) in [0, 1]. The user's own module works as well as those below.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from sinkgen._device import normal, sent
from sinkgen._validation import check_choice
from sinkgen.exceptions import BadTypeError, BadValueError

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
        return normal((n, self.latent_dim), random, next(self.parameters()))

    @torch.no_grad()
    def draw(self, labels, random):
        """Encoded records (m, D), where the weights lie, of the given classes (m,)."""
        self.eval()
        parts = [self(self.latents(len(part), random), sent(part, self.device)) for part in labels.split(4096)]
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


class DCGAN(nn.Module):
    """The deconvolutional network of the paper's runs on MNIST and Fashion-MNIST [1]_, for images of any size.

    A transposed convolution makes a quarter of the height and width, two more double them, a convolution makes the
    pixels; classes enter by an embedding of 8 numbers. Batch norm, as there: what it ties together are generated
    points, which are public.

    Parameters
    ----------
    latent_dim : int
        16 in the paper.
    output_shape : (h, w) or (h, w, c)
    n_classes : int
    width : int
        Channels at full size; four times as many at the smallest.

    References
    ----------
    .. [1] Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
       Networks", arXiv 1511.06434; sizes: Cao et al., arXiv 2111.01177, and the code released with it.
    """

    latent_dim = 16

    def __init__(self, latent_dim, output_shape, n_classes, width=64):
        super().__init__()
        self.output_shape = tuple(output_shape)
        height, width_, channels = (*output_shape, 1)[:3]
        start = math.ceil(height / 4), math.ceil(width_ / 4)
        self.embedding = nn.Embedding(n_classes, 8)
        self.body = nn.Sequential(
            nn.ConvTranspose2d(latent_dim + 8, 4 * width, start, bias=False), nn.BatchNorm2d(4 * width),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, latents, labels):
        """Images (m, *output_shape) in [0, 1]."""
        x = self.body(torch.cat([latents, self.embedding(labels)], 1)[:, :, None, None])
        return _images(torch.sigmoid(2 * x), self.output_shape)  # (1 + tanh) / 2


class BigGAN(nn.Module):
    """The residual network of the paper's runs on faces, 32 x 32 x 3 [1]_; other sizes are cut out of its images.

    Three residual blocks, each of which doubles height and width, with batch norms whose scale and shift follow the
    class, and spectral norm.

    Parameters
    ----------
    latent_dim : int
        32 in the paper.
    output_shape : (h, w) or (h, w, c)
    n_classes : int
    width : int
        A quarter of the channels.

    References
    ----------
    .. [1] Brock, Donahue, Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", arXiv
       1809.11096; sizes: Cao et al., arXiv 2111.01177, and the code released with it.
    """

    def __init__(self, latent_dim, output_shape, n_classes, width=64):
        super().__init__()
        self.output_shape = tuple(output_shape)
        height, width_, channels = (*output_shape, 1)[:3]
        self.start_shape = 4 * width, math.ceil(height / 8), math.ceil(width_ / 8)
        self.embedding = nn.Embedding(n_classes, 4)
        self.start = spectral_norm(nn.Linear(latent_dim, math.prod(self.start_shape)))
        self.blocks = nn.ModuleList(_UpsamplingBlock(4 * width) for _ in range(3))
        self.last = nn.Sequential(
            nn.BatchNorm2d(4 * width), nn.ReLU(), spectral_norm(nn.Conv2d(4 * width, channels, 3, padding=1))
        )

    def forward(self, latents, labels):
        """Images (m, *output_shape) in [0, 1]."""
        classes = self.embedding(labels)
        x = self.start(latents).view(-1, *self.start_shape)
        for block in self.blocks:
            x = block(x, classes)
        return _images(torch.sigmoid(2 * self.last(x)), self.output_shape)


class _UpsamplingBlock(nn.Module):
    """Twice the height and width, and what two convolutions add to it."""

    def __init__(self, channels):
        super().__init__()
        self.norms = nn.ModuleList(_ClassNorm(channels) for _ in range(2))
        self.convolutions = nn.ModuleList(spectral_norm(nn.Conv2d(channels, channels, 3, padding=1)) for _ in range(2))
        self.shortcut = spectral_norm(nn.Conv2d(channels, channels, 1))

    def forward(self, x, classes):
        first, second = self.convolutions
        inner = first(F.interpolate(F.relu(self.norms[0](x, classes)), scale_factor=2))
        inner = second(F.relu(self.norms[1](inner, classes)))
        return inner + self.shortcut(F.interpolate(x, scale_factor=2))


class _ClassNorm(nn.Module):
    """Batch norm whose scale and shift are linear in the class's embedding."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.bias = (spectral_norm(nn.Linear(4, channels, bias=False)) for _ in range(2))

    def forward(self, x, classes):
        return self.norm(x) * (1 + self.gain(classes))[:, :, None, None] + self.bias(classes)[:, :, None, None]


def _images(x, shape):
    """Images (m, *shape) of (m, channels, height, width), which may be larger."""
    height, width = shape[:2]
    return x[:, :, :height, :width].permute(0, 2, 3, 1).reshape(-1, *shape)


def _with_classes(latents, labels, n_classes):
    return torch.cat([latents, F.one_hot(labels, n_classes).to(latents)], 1)


FACTORIES = {"mlp": MLP, "conv": Conv, "dcgan": DCGAN, "biggan": BigGAN}
OF_IMAGES = ("conv", "dcgan", "biggan")


def network_name(generator, form):
    """What ``generator`` stands for: "auto" is "conv" for images, else "mlp"."""
    if generator != "auto":
        return generator
    return "conv" if len(form.network_shape) > 1 else "mlp"


def make_network(generator, output_shape, n_classes, random, latent_dim="auto"):
    """A fresh network, its weights drawn from the stream ``random`` and no other.

    Parameters
    ----------
    generator : {"mlp", "conv", "dcgan", "biggan"} or callable
        Name, or a factory ``(latent_dim, output_shape, n_classes) -> torch.nn.Module``.
    output_shape : tuple of int
    n_classes : int
    random : torch.Generator
    latent_dim : int or "auto", optional
        By default the factory's attribute of that name, if it has one; else 32.

    Returns
    -------
    Network

    Raises
    ------
    TypeError
        If the factory returns something else than a module.
    ValueError
        If the name is unknown, one of images is asked for rows of numbers, or the module's output has another shape.
    """
    factory = generator if callable(generator) else FACTORIES[check_choice("generator", generator, list(FACTORIES))]
    if generator in OF_IMAGES and len(output_shape) < 2:
        raise BadValueError(f"generator={generator!r} makes images; give image_shape, or use 'mlp' or 'particles'")
    if latent_dim == "auto":
        latent_dim = getattr(factory, "latent_dim", LATENT_DIM)
    with torch.random.fork_rng(devices=[]):  # torch initialises layers from the global stream: lend it, and restore
        torch.manual_seed(int(torch.randint(2**62, (), generator=random)))
        module = factory(latent_dim, tuple(output_shape), n_classes)
    if not isinstance(module, nn.Module):
        raise BadTypeError(f"the generator's factory must return a torch.nn.Module, got {type(module).__name__}")
    network = Network(module, latent_dim)
    network.eval()  # of what is tried out no norm shall keep a mean
    with torch.no_grad():
        shape = module(torch.zeros(2, latent_dim), torch.zeros(2, dtype=torch.long)).shape
    network.train()
    if tuple(shape) != (2, *output_shape):
        raise BadValueError(
            f"the generator's module must map 2 latents to (2, *{tuple(output_shape)}), got {tuple(shape)}"
        )
    return network
