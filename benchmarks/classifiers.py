"""Classifiers of images beside those of the common protocol: trained longer, or of another kind.

Each is trained on what it is given for a fixed number of steps, with a learning rate that falls to 0, and scored once,
after the last step. Others' figures often are of the best epoch on real images, which is more by up to a point.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BATCH = 128
KINDS = {"long": 12_000, "resnet": 6_000}  # steps


class Residual(nn.Module):
    """Two convolutions beside the identity, or beside a projection where the size changes."""

    def __init__(self, channels, width, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        is_same = channels == width and stride == 1
        self.beside = nn.Identity() if is_same else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x):
        """Pixels (m, width, h / stride, w / stride)."""
        return F.relu(self.body(x) + self.beside(x))


def network(kind, shape, n_classes):
    """The paper's convolutional network, or a residual one of nine layers; shape is (c, h, w)."""
    if kind == "resnet":
        widths = [(shape[0], 32, 1), (32, 64, 2), (64, 128, 2), (128, 128, 1)]
        blocks = [Residual(*each) for each in widths]
        return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, n_classes))
    body = nn.Sequential(
        nn.Conv2d(shape[0], 32, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.3),
        nn.Conv2d(32, 64, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.3),
        nn.Conv2d(64, 128, 3 if min(shape[1:]) > 20 else 1), nn.ReLU(), nn.Flatten(),
    )  # fmt: skip
    with torch.no_grad():
        width = body(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(body, nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, n_classes))


def as_pixels(X):
    """Images of 8 bits, (n, h, w) or (n, h, w, c), as pixels (n, c, h, w) in [0, 1]."""
    pixels = torch.as_tensor(np.ascontiguousarray(X)).float() / 255
    return pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()


def accuracy(kind, X, y, X_test, y_test, seed, steps=None):
    """Percentage of test images that are told right, after the last step, by a network trained on (X, y)."""
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, labels = as_pixels(X), torch.as_tensor(np.asarray(y).astype(np.int64))
    model = network(kind, tuple(x.shape[1:]), int(max(y.max(), y_test.max())) + 1).to(device).train()
    steps = KINDS[kind] if steps is None else steps
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=random)
        loss = F.cross_entropy(model(x[rows].to(device)), labels[rows].to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        read = torch.cat([model(part.to(device)).argmax(1).cpu() for part in as_pixels(X_test).split(1000)])
    return round(100 * float((read.numpy() == y_test).mean()), 2)
