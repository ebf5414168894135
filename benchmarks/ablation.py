"""The paper's ablation under noise: the self term, the cost, and where gradients are clipped; MNIST at 14 x 14.

    python benchmarks/ablation.py --data mnist.npz
    python benchmarks/ablation.py --data mnist.npz --only "p = 0" "p = 1" --seeds 1 --steps 6000

All runs are the paper's loop: batches of 50 records, 50 points, one transport problem for all classes, labels in the
cost, p = .4 and the mixed cost unless the row says so; with fewer and larger steps than its 3.45 million. One row of
Markdown a variant: accuracies of classifiers that are trained on 10,000 draws, on real test images.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from paper import Preset, draw, open_run
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch.nn.functional import avg_pool2d

from sinkgen.ot import L1Cost, MixedCost, SquaredEuclideanCost
from sinkgen.privacy.query import clip_factors
from sinkgen.training.batch import BatchLoop, self_gradient

BASE = {
    "points": 50, "microbatches": 1, "label_weight": 1.5, "balanced": False, "debias": 0.4, "learning_rate": 1e-3,
}  # fmt: skip
MIXED = MixedCost(1)
UNBOUNDED = 1e9
# A cost, settings beside the base's, and whether gradients are clipped at the images.
VARIANTS = {
    "mixed cost, p = .4, clipped at the images": (MIXED, {}, True),
    "no self term": (MIXED, {"debias": None}, True),
    "p = 0": (MIXED, {"debias": 0.0}, True),
    "p = .2": (MIXED, {"debias": 0.2}, True),
    "p = 1": (MIXED, {"debias": 1.0}, True),
    "L1": (L1Cost(), {}, True),
    "L2": (SquaredEuclideanCost(), {}, True),
    "clipped at the parameters": (MIXED, {}, False),
}


class ParameterQuery:
    """The gradient of a batch's transport cost in a network's parameters, clipped there: one record turns it round."""

    def __init__(self, images, parameters, generated, clip):
        self._images, self._parameters, self._generated, self.clip = images, parameters, generated, clip
        self.size, self.sensitivity = sum(part.numel() for part in parameters), 2 * clip

    def reach(self, max_rows):
        """A person turns it round as a record does."""
        return self.sensitivity

    def over(self, source, drawn):
        """Clipped, (size,), on a batch."""
        gradient = self.pulled(self._images.over(source, drawn).view(self._images.shape))
        return gradient * clip_factors(gradient.norm()[None], self.clip)

    def pulled(self, gradient):
        """A gradient in the images as one in the parameters, flat."""
        found = torch.autograd.grad(
            self._generated, self._parameters, gradient.to(self._generated), retain_graph=True
        )  # fmt: skip
        return torch.cat([part.flatten() for part in found]).double()

    def read(self, value):
        """The released gradient, flat."""
        return value


class ParameterLoop(BatchLoop):
    """The same loop, but that the gradient is clipped and noised in the network's parameters, as DP-SGD does."""

    def step(self, done):
        """One private step; the images' gradients are not clipped."""
        stage, n = self._stage, self._stage.settings.points
        parameters = list(self.network.parameters())
        classes = self._draw_classes()
        generated = self.network(self.network.latents(len(classes), stage.random), classes)
        images = self._query(generated[:n].detach(), classes[:n])
        typical, images.clip = self._clip, UNBOUNDED
        pushed = torch.randn(images.shape, generator=stage.random)
        query = ParameterQuery(images, parameters, generated[:n], 1.0)
        query.clip = float(query.pulled(pushed * typical / pushed.norm()).norm())
        query.sensitivity = 2 * query.clip
        gradient = stage.mechanism.release("gradients", query, self._source)
        own = self_gradient(images, generated.detach(), classes)
        gradient = (gradient + query.pulled(own)).float()
        for group in self._optimiser.param_groups:
            group["lr"] = stage.settings.learning_rate * (1 + np.cos(np.pi * done)) / 2
        for part, value in zip(parameters, gradient.split([part.numel() for part in parameters]), strict=True):
            part.grad = value.view(part.shape)
        self._optimiser.step()


def small(data):
    """The images at half their height and width."""
    made = {}
    for part in ("train", "test"):
        x = torch.as_tensor(np.asarray(data[f"X_{part}"]), dtype=torch.float32).reshape(-1, 1, 28, 28)
        made |= {f"X_{part}": avg_pool2d(x, 2)[:, 0].numpy().round().astype(np.uint8), f"y_{part}": data[f"y_{part}"]}
    return made


def run(args, data, name, seed):
    """Accuracies of two classifiers on the real test images, in percent."""
    cost, settings, at_images = VARIANTS[name]
    given = argparse.Namespace(**vars(args) | {"seed": seed})
    loop, form, labels, *_ = open_run(given, data, Preset(50, args.generator, cost, BASE | settings))
    if not at_images:
        loop = ParameterLoop(loop._stage)
    for step in range(args.steps):
        loop.step(step / args.steps)
    X, y = draw(loop, form, labels, 10_000, seed)
    found = []
    for model in (LogisticRegression(max_iter=100), MLPClassifier((100,), max_iter=20, random_state=0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            model.fit(X.reshape(len(X), -1) / 255, y)
        found.append(100 * model.score(data["X_test"].reshape(len(data["X_test"]), -1) / 255, data["y_test"]))
    return found


def main():
    """Run all variants; print a row of each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="npz with X_train, y_train, X_test, y_test of 28 x 28")
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of variants")
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--generator", default="mlp")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    args.set, args.state = [], None
    torch.set_num_threads(1)
    data = small(np.load(args.data))
    print("| | LR | MLP | seconds a run |\n|---|---|---|---|")
    for name in VARIANTS:
        if any(part in name for part in args.only):
            start = time.process_time()
            found = np.array([run(args, data, name, seed) for seed in range(args.seeds)])
            cells = [f"{of.mean():.1f} ± {of.std(ddof=int(args.seeds > 1)):.1f}" for of in found.T]
            seconds = (time.process_time() - start) / args.seeds
            print(f"| {name} | {cells[0]} | {cells[1]} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
