"""The paper's mechanism at length: fits by steps or minutes, goes on from a checkpoint, scores as it goes.

    python benchmarks/paper.py --data mnist.npz --preset projected --epsilon 10 --minutes 60
    python benchmarks/paper.py --accounting

Each line is a point of the curve: steps, minutes of wall and processor, epsilon spent so far, accuracies. At the end
stand 60,000 samples, a picture, and the scores of the common protocol. With ``--accounting`` alone: what the published
settings cost by three accountants.
"""

import argparse
import importlib.util
import json
import math
import time
from pathlib import Path
from typing import NamedTuple

import dp_accounting
import numpy as np
import torch
from images import ROOT, grid, score
from opacus.accountants.analysis.rdp import compute_rdp

from sinkgen import DPSinkhornGenerator, fitting
from sinkgen.accounting import PrivacySpent, epsilon_spent
from sinkgen.ot import MixedCost, resolve_cost
from sinkgen.privacy.journal import Unkept
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.sealed import seal
from sinkgen.privacy.streams import new_key
from sinkgen.progress import Progress
from sinkgen.settings import Semidual
from sinkgen.sources.open import open_records
from sinkgen.training.batch import BatchLoop
from sinkgen.training.stage import Stage

# The released code has pixels in [-1, 1] and a label of 15; half of both here, and so half of m and of the clip, and a
# quarter of its regularisation, blur^p. Shares are of the mean cost between even points of [0, 1]^784.
HALF_COST = 784 / 6 + 0.5 * 784 / 3
PUBLISHED = {
    "points": 50, "clip": 0.25, "reg": 0.0125 / HALF_COST, "debias": 0.2, "label_weight": 7.5 / HALF_COST**0.5,
    "learning_rate": 1e-5, "iterations": None, "balanced": False,
}  # fmt: skip


class Preset(NamedTuple):
    """What a run is made of, beside its length."""

    batch: int
    generator: str
    cost: object
    settings: dict


# Classes apart, batches in parts.
FAST = {"points": 100, "microbatches": 40, "reg": 0.05, "debias": 1.0, "iterations": 10}
PRESETS = {
    "published": Preset(50, "dcgan", MixedCost(0.5), PUBLISHED),
    "published-m3": Preset(50, "dcgan", MixedCost(1.5), PUBLISHED),
    "faces": Preset(200, "biggan", "sqeuclidean", PUBLISHED | {"clip": 0.05, "reg": 25 / 4 / 512, "debias": 0.0}),
    "plain": Preset(2000, "mlp", "sqeuclidean", FAST),
    "published-cost": Preset(1000, "mlp", MixedCost(0.5), FAST | {"points": 50, "microbatches": 20, "debias": 0.2}),
    "projected": Preset(2000, "mlp", "sqeuclidean", FAST | {"directions": True}),
    "started": Preset(
        2000, "mlp", "sqeuclidean", FAST | {"directions": True, "start": Semidual(), "learning_rate": 1e-4}
    ),
    "noiseless": Preset(400, "mlp", "sqeuclidean", FAST | {"points": 200, "microbatches": 2, "reg": 0.02}),
}
# Sampling rate, noise multiplier and steps as published, for epsilon 10 at delta 1e-5.
RUNS = {"MNIST": (50 / 60_000, 1.1, 3_450_000), "Fashion-MNIST": (50 / 60_000, 0.9, 1_810_000)}
ORDERS = [1.25, 1.5, 1.75, 2, 2.25, 2.5, 3, 3.5, 4, 4.5, *range(5, 65), 128, 256, 512]


class Kept(Unkept):
    """What a run goes on from: its key, and its releases but for the gradients: the loop's state stands for those."""

    def __init__(self, key, seed, releases=None, done=0):
        super().__init__(key, seed)
        self.releases, self.done = releases or {}, done

    def recall(self, what, step):
        """What was released; of gradients that are part of the state, nothing that matters."""
        if what == "gradients":
            return bytes(8) if step < self.done else None
        return self.releases.get((what, step))

    def keep(self, what, step, content):
        """Hold what is small."""
        if what != "gradients":
            self.releases[what, step] = content


class Passed:
    """The query of a step that is part of the state."""

    def read(self, value):
        """Nothing."""


def open_run(args, data, preset):
    """The loop, where it stands, and what its releases cost."""
    X, y = data["X_train"], data["y_train"]
    given = preset.settings | {"steps": args.steps, "sampling_rate": preset.batch / len(X)}
    given |= {name: json.loads(value) for name, value in (pair.split("=") for pair in args.set)}
    gen = DPSinkhornGenerator(
        args.epsilon, mechanism="batch", generator=args.generator or preset.generator, cost=preset.cost,
        classes=np.unique(y),
    )  # fmt: skip
    progress = Progress(0, None)
    records = open_records(X, y, as_array=False, watch=progress.parts)
    facts = fitting.collect_facts(gen, records, given)
    plan = fitting.plan_budget(fitting.TRAINERS["batch"], facts, given, gen.epsilon, gen.delta, gen.accountant)
    saved = torch.load(args.state, weights_only=False) if args.state and args.state.exists() else None
    journal = Kept(saved["key"], args.seed, saved["releases"], saved["step"]) if saved else Kept(new_key(), args.seed)
    mechanism = GaussianMechanism(plan.releases, gen.delta, journal=journal)
    random = torch.Generator().manual_seed(args.seed)
    device = fitting.working_device(gen, facts.form)
    form, labels, counts, source, _ = fitting.prepare(seal(records.source), facts, mechanism, device)
    stage = Stage(
        source, counts, form, mechanism, plan.settings, resolve_cost(preset.cost), "torch", gen.generator, device,
        random, progress.steps,
    )  # fmt: skip
    loop = BatchLoop(stage)
    for _ in range(journal.done):
        mechanism.release("gradients", Passed(), source)
    if saved:
        loop.load_state_dict(saved["loop"])
    spent = PrivacySpent.of(plan.releases, gen.delta, gen.accountant)
    return loop, form, labels, mechanism, spent, journal


def protocol_module(path):
    """The common protocol, for scores between steps."""
    spec = importlib.util.spec_from_file_location("protocol", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(loop, form, labels, n, seed):
    """Synthetic images and labels."""
    random = torch.Generator().manual_seed(seed)
    codes = torch.multinomial(loop.class_weights, n, replacement=True, generator=random)
    return form.decode(loop.network.draw(codes, random)), labels.decode(codes)


def accuracies(protocol, data, X, y, kinds):
    """Of classifiers trained on the draws, on real test images, in percent."""
    x, real = protocol.images(X), protocol.images(data["X_test"])
    codes, truth = (torch.as_tensor(np.asarray(it).astype(np.int64)) for it in (y, data["y_test"]))
    found = {}
    for kind in kinds:
        model = protocol.train(kind, x, codes, int(truth.max()) + 1, 0, "cpu")
        hits = protocol.forward(model, real, "cpu").argmax(1) == truth
        found[kind] = round(100 * float(hits.float().mean()), 2)
    return found


def train(args, data):
    """The run: steps until they, or the minutes, are used up."""
    loop, form, labels, mechanism, spent, journal = open_run(args, data, PRESETS[args.preset])
    protocol = protocol_module(args.protocol)
    taken = {"wall": 0.0, "processor": 0.0}

    def clocks():
        return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}

    def look(step):
        row = {"preset": args.preset, "epsilon_asked": args.epsilon, "steps": step}
        row |= {f"{name}_minutes": round(seconds / 60, 2) for name, seconds in taken.items()}
        row["epsilon"] = None if args.epsilon == float("inf") else round(spent.epsilon_after(mechanism.steps_done), 3)
        row |= accuracies(protocol, data, *draw(loop, form, labels, 20_000, args.seed), args.curve.split(","))
        print(json.dumps(row), flush=True)
        kept = {"key": journal.key, "releases": journal.releases, "step": step, "loop": loop.state_dict()}
        torch.save(kept, args.state.with_suffix(".new"))
        args.state.with_suffix(".new").replace(args.state)

    step, next_look = journal.done, args.every
    wall, processor = time.perf_counter(), time.process_time()
    while step < args.steps:
        now = clocks()
        if sum((taken["wall"], now["wall"])) >= 60 * args.minutes:
            break
        if taken["wall"] + now["wall"] >= 60 * next_look:
            taken = {name: taken[name] + now[name] for name in taken}
            look(step)
            next_look += args.every
            wall, processor = time.perf_counter(), time.process_time()
        loop.step(max(step / args.steps, (taken["wall"] + now["wall"]) / (60 * args.minutes)))
        step += 1
    taken = {name: taken[name] + clocks()[name] for name in taken}
    look(step)
    X, y = draw(loop, form, labels, 60_000, args.seed)
    grid(X, y).save(args.state.with_suffix(".png"))
    print(json.dumps({"steps": step} | score(args.protocol, args.data, X, y, args.only)), flush=True)


def accounting():
    """What the published runs cost: as they were priced, and by accountants that came later."""
    print("run | q | sigma | steps | RDP as published | RDP | PRV | PLD of dp-accounting")
    for name, (rate, sigma, steps) in RUNS.items():
        divergences = compute_rdp(q=rate, noise_multiplier=sigma, steps=steps, orders=ORDERS)
        published = min(d + math.log(1e5) / (order - 1) for d, order in zip(divergences, ORDERS, strict=True))
        event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
        pld = dp_accounting.pld.PLDAccountant().compose(event, steps).get_epsilon(1e-5)
        found = [epsilon_spent(sigma, rate, steps, 1e-5, accountant) for accountant in ("rdp", "prv")]
        print(name, f"{rate:.6f}", sigma, steps, *(f"{value:.3f}" for value in (published, *found, pld)), sep=" | ")


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--accounting", action="store_true", help="print the table of costs, and nothing else")
    parser.add_argument("--data", help="npz with X_train, y_train, X_test, y_test")
    parser.add_argument("--preset", default="projected", choices=list(PRESETS))
    parser.add_argument("--generator", help="another network than the preset's")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings instead of the preset's")
    parser.add_argument("--epsilon", type=float, default=10.0, help="inf for no noise")
    parser.add_argument("--steps", type=int, default=200_000, help="that the budget is for")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which the run ends, whatever its steps")
    parser.add_argument("--every", type=float, default=5.0, help="minutes between points of the curve")
    parser.add_argument("--curve", default="lr,mlp", help="classifiers of the curve")
    parser.add_argument("--only", default="lr,mlp,cnn,fidelity", help="parts of the protocol at the end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--protocol", default=ROOT.parent / "shared" / "eval" / "images.py", type=Path)
    parser.add_argument("--state", default=ROOT / "output" / "paper.pt", type=Path, help="the checkpoint, and names")
    args = parser.parse_args()
    if args.accounting:
        accounting()
        return
    torch.set_num_threads(args.threads)
    args.state.parent.mkdir(parents=True, exist_ok=True)
    train(args, np.load(args.data))


if __name__ == "__main__":
    main()
