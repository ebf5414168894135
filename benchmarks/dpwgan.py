"""An adversarial baseline: a Wasserstein GAN with gradient penalty, its critic trained by DP-SGD on opacus.

    python benchmarks/dpwgan.py --data mnist.npz --protocol images.py --epsilon 10 --seconds 60
    python benchmarks/dpwgan.py --train adult_train.csv --test adult_test.csv --label income
        --schema benchmarks/schemas/adult.json --protocol tabular.py --epsilon 1 --seconds 60
    python benchmarks/dpwgan.py --data mnist.npz --stacked --epsilon 10 --seconds 60

Only the critic sees records. A step takes a Poisson sample. A record's loss is ``D(fake) - D(real)``, with a fake
record of its own, and ``10 (|grad D| - 1)^2`` at a place between the two; its gradient is clipped and noised by the
optimiser of opacus, priced by its RDP accountant. The generator moves once in ``CRITIC`` steps, which costs nothing.
How many steps fit into the processor seconds is measured on made-up records, before the noise is fixed. Labels are a
part of what is drawn for tables, and a condition for images, where they are drawn evenly.

With ``--stacked`` images are three digits, one a channel, and have no label; ``modes`` is how many of the 1,000 triples
are found among 26,000 draws, read by a network that was trained on the real digits; with ``--ours`` the same of this
package's estimator.

References
----------
Gulrajani and others, arXiv 1704.00028 (the penalty); Abadi and others, arXiv 1607.00133 (DP-SGD); Lin and others, arXiv
1712.04086 (stacked digits).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from images import score as score_images
from opacus.accountants.utils import get_noise_multiplier
from opacus.optimizers import DPOptimizer
from tables import score as score_table
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from sinkgen import DPSinkhornGenerator, Schema
from sinkgen.data.table import Rows, table_format

BATCH, CRITIC, PENALTY, CLIP = 128, 3, 10.0, 1.0
LATENT, WIDTH = 64, 128
DRAWS, MODES = 26_000, 1000


class Critic(nn.Module):
    """A perceptron of one record, with its condition beside it."""

    def __init__(self, n_inputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2),
            nn.Linear(WIDTH, 1),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)[..., 0]


class Generator(nn.Module):
    """A perceptron of latents and condition; pixels in [0, 1], or for tables frequencies of each column's states."""

    def __init__(self, n_condition, n_outputs, widths):
        super().__init__()
        self.widths = widths
        self.layers = nn.Sequential(
            nn.Linear(LATENT + n_condition, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2 * WIDTH), nn.ReLU(),
            nn.Linear(2 * WIDTH, n_outputs),
        )  # fmt: skip

    def forward(self, condition):
        out = self.layers(torch.cat([torch.randn(len(condition), LATENT), condition], 1))
        if self.widths is None:
            return out.sigmoid()
        return torch.cat([F.gumbel_softmax(part, tau=0.5) for part in out.split(self.widths, 1)], 1)


class Adversary:
    """Generator and critic in training.

    Parameters
    ----------
    records : Tensor of shape (n, D), float or uint8
    conditions : Tensor of shape (n, c)
        One-hot labels; c may be 0.
    widths : list of int, or None
        States of each column; None for images.
    """

    def __init__(self, records, conditions, widths):
        self.records, self.conditions = records, conditions
        self.generator = Generator(conditions.shape[1], records.shape[1], widths)
        self.critic = Critic(records.shape[1] + conditions.shape[1])
        self.moves = torch.optim.Adam(self.generator.parameters(), 2e-4, betas=(0.5, 0.9))
        self._per_record = vmap(grad(self._loss), in_dims=(None, 0, 0, 0, 0))

    def train(self, rate, noise, steps):
        """So many steps of the critic, with the generator's in between."""
        optimiser = DPOptimizer(
            torch.optim.Adam(self.critic.parameters(), 5e-4, betas=(0.5, 0.9)), noise_multiplier=noise,
            max_grad_norm=CLIP, expected_batch_size=rate * len(self.records),
        )  # fmt: skip
        for step in range(steps):
            rows = torch.nonzero(torch.rand(len(self.records)) < rate).flatten()
            self._step_critic(optimiser, rows)
            if step % CRITIC == CRITIC - 1:
                condition = self._drawn_conditions(BATCH)
                loss = -self.critic(torch.cat([self.generator(condition), condition], 1)).mean()
                self.moves.zero_grad()
                loss.backward()
                self.moves.step()

    def _step_critic(self, optimiser, rows):
        condition = self.conditions[rows]
        real = self.records[rows].float() / (255 if self.records.dtype == torch.uint8 else 1)
        with torch.no_grad():
            fake = self.generator(condition) if len(rows) else real
        parameters = {name: value.detach() for name, value in self.critic.named_parameters()}
        shape = (len(rows), *[1] * (real.ndim - 1))
        gradients = self._per_record(parameters, real, fake, condition, torch.rand(shape)) if len(rows) else None
        for name, parameter in self.critic.named_parameters():
            parameter.grad_sample = parameter.new_zeros(0, *parameter.shape) if gradients is None else gradients[name]
        optimiser.step()
        optimiser.zero_grad()

    def _loss(self, parameters, real, fake, condition, share):
        def read(x):
            return functional_call(self.critic, parameters, (torch.cat([x, condition]),))

        between = share * real + (1 - share) * fake
        length = (grad(read)(between).square().sum() + 1e-12).sqrt()
        return read(fake) - read(real) + PENALTY * (length - 1).square()

    def _drawn_conditions(self, n):
        n_classes = self.conditions.shape[1]
        return F.one_hot(torch.randint(max(1, n_classes), (n,)), max(1, n_classes)).float()[:, :n_classes]

    @torch.no_grad()
    def draw(self, n):
        """Records (n, D) and their classes (n,)."""
        conditions = self._drawn_conditions(n)
        drawn = torch.cat([self.generator(part) for part in conditions.split(4096)])
        return drawn, conditions.argmax(1) if conditions.shape[1] else None


def trained(records, conditions, widths, arguments):
    """An adversary after as many steps as the seconds allow, and what it cost."""
    torch.manual_seed(arguments.seed)
    rate = BATCH / len(records)
    made_up = torch.rand(min(len(records), 20 * BATCH), records.shape[1])
    trial = Adversary(made_up, conditions[: len(made_up)], widths)
    trial.train(BATCH / len(made_up), 1.0, 6)
    start = time.process_time()
    trial.train(BATCH / len(made_up), 1.0, 30)
    steps = max(30, int(30 * arguments.seconds / (time.process_time() - start)))
    noise = get_noise_multiplier(
        target_epsilon=arguments.epsilon, target_delta=arguments.delta, sample_rate=rate, steps=steps, accountant="rdp"
    )
    adversary, start = Adversary(records, conditions, widths), time.process_time()
    adversary.train(rate, noise, steps)
    cost = {"steps": steps, "noise": noise, "batch": BATCH, "cpu_seconds": round(time.process_time() - start, 1)}
    return adversary, cost


def stacked(X, n, seed):
    """Images of three digits, one a channel."""
    rows = np.random.default_rng(seed).integers(len(X), size=(n, 3))
    return np.moveaxis(X[rows], 1, -1)


def reader(X, y):
    """A small convolutional network that reads digits, trained for an epoch on real ones."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    optimiser, order = torch.optim.Adam(network.parameters(), 2e-3), torch.randperm(len(X))
    pixels, labels = torch.from_numpy(X)[:, None], torch.from_numpy(y).long()
    for rows in order.split(128):
        loss = F.cross_entropy(network(pixels[rows].float() / 255), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


@torch.no_grad()
def modes(read, images):
    """How many triples of digits are found in stacked images (n, 28, 28, 3) of uint8."""
    digits = [
        torch.cat([read(part[:, None].float() / 255).argmax(1) for part in torch.from_numpy(channel).split(2000)])
        for channel in np.moveaxis(images, -1, 0)
    ]
    return len(torch.unique(100 * digits[0] + 10 * digits[1] + digits[2]))


def run_stacked(arguments):
    data = np.load(arguments.data)
    X, y = data["X_train"], data["y_train"]
    images, read = stacked(X, 60_000, 0), reader(X, y)
    result = {"most": modes(read, stacked(X, DRAWS, 1))}
    if arguments.ours:
        start = time.process_time()
        gen = DPSinkhornGenerator(arguments.epsilon, arguments.delta, schema=(0, 255), random_state=0).fit(images)
        drawn, cost = gen.sample(DRAWS, random_state=0), {"cpu_seconds": round(time.process_time() - start, 1)}
    else:
        records = torch.from_numpy(images.reshape(len(images), -1))
        adversary, cost = trained(records, torch.zeros(len(images), 0), None, arguments)
        drawn = (255 * adversary.draw(DRAWS)[0]).round().byte().numpy().reshape(-1, *images.shape[1:])
    return result | cost | {"modes": modes(read, drawn), "of": MODES}


def run_images(arguments):
    data = np.load(arguments.data)
    X, y = data["X_train"], data["y_train"]
    conditions = F.one_hot(torch.from_numpy(y).long()).float()
    adversary, cost = trained(torch.from_numpy(X.reshape(len(X), -1)), conditions, None, arguments)
    drawn, labels = adversary.draw(len(X))
    drawn = (255 * drawn).round().byte().numpy().reshape(X.shape)
    return cost | score_images(arguments.protocol, arguments.data, drawn, labels.numpy(), arguments.only)


def run_table(arguments):
    train, test = (pd.read_csv(path) for path in (arguments.train, arguments.test))
    label = arguments.label
    # Bins of the numbers are those of a noiseless plan: even between the declared bounds.
    schema = Schema.from_json(Path(arguments.schema).read_text())
    declared = {name: column for name, column in schema.items() if name != label}
    form = table_format(train.drop(columns=label), declared)
    form = form.with_columns([_binned(column) for column in form.columns])
    classes = sorted(train[label].unique())
    codes = form.states(form.encode(Rows(train.drop(columns=label)))).long().clamp_min(0)
    labels = torch.from_numpy(np.searchsorted(classes, train[label]))
    widths = [*form.widths, len(classes)]
    columns = [*codes.T, labels]
    records = torch.cat([F.one_hot(column, width).float() for column, width in zip(columns, widths, strict=True)], 1)
    adversary, cost = trained(records, torch.zeros(len(records), 0), widths, arguments)
    drawn = [part.argmax(1) for part in adversary.draw(len(train))[0].split(widths, 1)]
    cells = [torch.tensor(column.cell_states) for column in form.columns]
    first = [torch.searchsorted(of, torch.arange(int(of[-1]) + 1)) for of in cells]
    sizes = [torch.bincount(of) for of in cells]
    places = [
        start[state] + torch.rand(len(state), dtype=torch.float64) * n[state]
        for start, n, state in zip(first, sizes, drawn, strict=False)
    ]
    frame = form.decode(torch.stack(places, 1))
    frame[label] = np.array(classes)[drawn[-1].numpy()]
    found = score_table(arguments.protocol, train, test, frame[train.columns], label)
    return cost | {"auc": [found[name]["auc"] for name in ("lr", "rf", "gb")], "tvd2": found["tvd2_mean"]}


def _binned(column):
    if not hasattr(column, "edges") or column.edges:
        return column
    low, high = column.bounds
    return column.with_bins(np.linspace(low, high, 17) if column.kind != "integer" else np.linspace(low, high + 1, 17))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--train")
    parser.add_argument("--test")
    parser.add_argument("--label")
    parser.add_argument("--schema")
    parser.add_argument("--protocol")
    parser.add_argument("--only", default="lr,mlp,cnn")
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stacked", action="store_true")
    parser.add_argument("--ours", action="store_true")
    arguments = parser.parse_args()
    run = run_stacked if arguments.stacked else run_images if arguments.data else run_table
    result = {"epsilon": arguments.epsilon, "seconds": arguments.seconds, **run(arguments)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
