"""The solver of sinkgen.ot against POT and geomloss: time at equal error, gradients against float64, iterations.

    python benchmarks/solver.py [--data mnist.npz] [--cases A C] [--repeats 7] [--json results.json]
    python benchmarks/solver.py --cases --curves --blocks

Every ratio is the median over paired runs, in one process and on one thread, of their processor time over ours; for the
two matrix products, which nobody can do without, of ours over theirs. Runs of less than ten milliseconds are timed
several at once. ``--data`` adds the same shapes on real digits (an .npz whose first array of three or more dimensions
holds images). geomloss and OTT-JAX are compared with where they are installed. "pass" and "short" are of TARGETS.

``--curves`` shows the time of a value and its gradient against each of n, m, d and reg; ``--blocks`` the time and peak
memory with the cost matrix held, and in blocks of rows, each in a process of its own.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import ot
import torch

from sinkgen.ot import resolve_cost, sinkhorn, sinkhorn_divergence
from sinkgen.ot.divergence import entropic_cost

try:
    from geomloss import SamplesLoss
except ImportError:
    SamplesLoss = None

try:
    import jax
    from ott.geometry.pointcloud import PointCloud
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn
except ImportError:
    jax = None

SHAPES = {"A": (200, 200, 784), "B": (2000, 2000, 784), "C": (500, 6000, 784), "D": (2000, 2000, 10)}
TOL = 1e-3
SHORT = 0.01  # seconds below which a run is timed together with others
DIVERGENCE_TOL = 2e-4  # for gradients to 1e-3


def gaussians(n, m, d):
    """Return two Gaussian samples of different mean and scale."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=generator), 0.3 + 1.2 * torch.randn(m, d, generator=generator)


def digits(path, n, m):
    """Return noisy digits and others without noise, in [0, 1], as (n, 784) and (m, 784)."""
    with np.load(path) as arrays:
        images = next(arrays[name] for name in arrays.files if arrays[name].ndim >= 3)
    rows = np.random.default_rng(0).permutation(len(images))[: n + m]
    images = torch.as_tensor(images[rows].reshape(n + m, -1) / 255.0, dtype=torch.float32)
    noise = torch.randn(n, images.shape[1], generator=torch.Generator().manual_seed(0))
    return images[:n] + 0.1 * noise, images[n:]


def timed(run):
    """Return the seconds of processor time that ``run()`` takes: other processes do not count."""
    start = time.process_time()
    run()
    return time.process_time() - start


def ratio(theirs, ours, repeats):
    """Return the median of their time over ours, and of ours in milliseconds; short runs are timed several at once."""
    theirs(), ours()
    runs = max(1, round(SHORT / max(timed(ours), 1e-6)))

    def several(run):
        return timed(lambda: [run() for _ in range(runs)] and None)

    pairs = [(several(theirs), several(ours)) for _ in range(repeats)]
    return {
        "ratio": statistics.median(a / b for a, b in pairs),
        "ours_ms": 1e3 * statistics.median(b for _, b in pairs) / runs,
    }


def over(products, run, repeats):
    """Return the median of the time of ``run`` over that of the products, and its own in milliseconds."""
    row = ratio(products, run, repeats)
    return row | {"ratio": 1 / row["ratio"]}


def l1_error(plan):
    """Return the larger L1 error of the marginals of a plan between uniform weights."""
    rows, columns = plan.sum(1) - 1 / plan.shape[0], plan.sum(0) - 1 / plan.shape[1]
    return max(float(rows.abs().sum()), float(columns.abs().sum()))


def pot_solver(C, reg, method, tol):
    """Return a run of POT that just reaches the L1 error ``tol``: POT itself stops on an L2 norm."""
    a, b = (C.new_full((size,), 1 / size) for size in C.shape)
    for k in range(12):
        stop = tol * 0.5**k

        def run(stop=stop):
            return ot.sinkhorn(a, b, C, reg, method=method, stopThr=stop, numItermax=5000, warn=False)

        if l1_error(run()) <= tol:
            return run
    return None


def gradient(value, x):
    """Return the gradient of ``value(x)`` in x."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(value(x), x)[0]


def relative_error(gradient_, reference):
    """Return the relative error of a gradient, in the Frobenius norm."""
    return float((gradient_.double() - reference).norm() / reference.norm())


def compare_solvers(C, reg, repeats):
    """Yield rows: POT's kernel and logarithmic solvers against ours, the cost matrix given."""
    result = sinkhorn(C, reg, tol=TOL)
    for method in ("sinkhorn", "sinkhorn_log"):
        run = pot_solver(C, reg, method, TOL)
        name = f"solve, POT {method}"
        if run is None:
            yield name, {"ratio": math.inf, "note": "never reached the tolerance", "n_iter": result.n_iter}
            continue
        yield name, ratio(run, lambda: sinkhorn(C, reg, tol=TOL), repeats) | {"n_iter": result.n_iter}


def straight_down(x, y, reg, n_iter):
    """Return value and gradient of W_reg with nothing around the arithmetic: what calls of torch cannot do without."""
    a, b = (x.new_full((size,), 1 / size) for size in (len(x), len(y)))
    C = (x.square().sum(1).unsqueeze(1) + y.square().sum(1)).addmm_(x, y.t(), alpha=-2.0)
    f = C.amin(1)
    kernel = torch.sub(f.unsqueeze(1), C).div_(reg * math.log(2.0)).exp2_()
    right = b
    for _ in range(n_iter):
        left = a / torch.mv(kernel, right)
        right = b / torch.mv(kernel.t(), left)
    left = a / torch.mv(kernel, right)
    value = torch.dot(a, f) + reg * (torch.dot(a, (left / a).log_()) + torch.dot(b, (right / b).log_()))
    plan = (kernel * left.unsqueeze(1)).mul_(right)
    return value, (x * (2.0 * a).unsqueeze(1)).addmm_(plan, y, alpha=-2.0)


class StraightDown(torch.autograd.Function):
    """The same as one node of autograd."""

    @staticmethod
    def forward(ctx, x, y, reg, n_iter):
        """Return the value, and keep the gradient."""
        value, ctx.gradient = straight_down(x, y, reg, n_iter)
        return value

    @staticmethod
    def backward(ctx, grad_value):
        """Return the gradient; the value is not multiplied by anything here."""
        return ctx.gradient, None, None, None


def compare_values(x, y, reg, repeats):
    """Yield rows: value and gradient of W_reg, against its two matrix products and POT's solve_sample.

    Beside them stand, over the products too, ours without autograd and the bare arithmetic without and with it.
    """
    weights = torch.rand(len(x), len(y))
    cost = resolve_cost("sqeuclidean")
    n_iter = sinkhorn(cost.matrix(x, y), reg, tol=TOL).n_iter

    def ours():
        return gradient(lambda x: entropic_cost(x, y, reg, tol=TOL), x)

    def products():
        return x @ y.t(), weights @ y

    def without_autograd():
        result = sinkhorn(cost.matrix(x, y), reg, tol=TOL)
        return result.value, cost.weighted_gradient(result.plan, x, y)

    def pot():
        stop = TOL / math.sqrt(len(y))
        return gradient(lambda x: ot.solve_sample(x, y, reg=reg, reg_type="KL", grad="envelope", tol=stop).value, x)

    exact = gradient(lambda x: entropic_cost(x, y.double(), reg, tol=1e-10, max_iter=20000), x.double())
    yield "end to end, two products", over(products, ours, repeats) | {"ours_error": relative_error(ours(), exact)}
    yield "  ours without autograd", over(products, without_autograd, repeats)
    yield "  bare arithmetic", over(products, lambda: straight_down(x, y, reg, n_iter), repeats)
    bare = over(products, lambda: gradient(lambda x: StraightDown.apply(x, y, reg, n_iter), x), repeats)
    yield "  bare arithmetic within autograd", bare
    error = {"ours_error": relative_error(ours(), exact), "their_error": relative_error(pot(), exact)}
    yield "end to end, POT solve_sample", ratio(pot, ours, max(1, repeats // 2)) | error


def compare_divergences(x, y, reg, repeats):
    """Yield rows: the debiased divergence with its gradient, against geomloss."""
    if SamplesLoss is None:
        return
    y64 = y.double()
    exact = gradient(lambda x: sinkhorn_divergence(x, y64, reg, tol=1e-10, max_iter=20000), x.double())

    def ours():
        return gradient(lambda x: sinkhorn_divergence(x, y, reg, tol=DIVERGENCE_TOL), x)

    for scaling in (0.5, 0.9):
        # geomloss takes half the squared distance, at blur^2.
        loss = SamplesLoss("sinkhorn", p=2, blur=math.sqrt(reg / 2), scaling=scaling, backend="tensorized")

        def theirs(loss=loss):
            return gradient(lambda x: 2 * loss(x, y), x)

        error = {"ours_error": relative_error(ours(), exact), "their_error": relative_error(theirs(), exact)}
        yield f"divergence, geomloss {scaling}", ratio(theirs, ours, max(1, repeats // 2)) | error


def compare_jax(x, y, reg, repeats):
    """Yield a row: value and gradient of W_reg, against OTT-JAX compiled, in its own threads."""
    if jax is None:
        return
    y_jax, solver = jax.numpy.asarray(y.numpy()), Sinkhorn(threshold=TOL, max_iterations=2000)

    def value(x):
        return solver(LinearProblem(PointCloud(x, y_jax, epsilon=reg))).reg_ot_cost

    compiled, x_jax = jax.jit(jax.grad(value)), jax.numpy.asarray(x.numpy())
    exact = gradient(lambda x: entropic_cost(x, y.double(), reg, tol=1e-10, max_iter=20000), x.double())

    def ours():
        return gradient(lambda x: entropic_cost(x, y, reg, tol=TOL), x)

    def theirs():
        return torch.from_numpy(np.array(compiled(x_jax)))

    error = {"ours_error": relative_error(ours(), exact), "their_error": relative_error(theirs(), exact)}
    yield "end to end, OTT-JAX", ratio(theirs, ours, max(1, repeats // 2)) | error


def small_regularisations(C, mean):
    """Yield rows: iterations to the tolerance as reg falls, in float64."""
    for divisor in (20, 100, 512, 5100):
        result = sinkhorn(C.double(), mean / divisor, tol=TOL)
        yield f"reg = mean / {divisor}", {"n_iter": result.n_iter, "note": result.status, "ours_error": result.error}


def floor_of_precision(C, reg, repeats):
    """Yield a row: float32 asked for 1e-6, against POT's kernel solver asked for that (in its L2 norm)."""
    a, b = (C.new_full((size,), 1 / size) for size in C.shape)

    def pot():
        return ot.sinkhorn(a, b, C, reg, stopThr=1e-6, numItermax=1000, warn=False)

    result = sinkhorn(C, reg, tol=1e-6)
    row = {"n_iter": result.n_iter, "note": result.status, "ours_error": result.error, "their_error": l1_error(pot())}
    yield "asked 1e-6 in float32, POT sinkhorn", ratio(pot, lambda: sinkhorn(C, reg, tol=1e-6), repeats) | row


def compare(x, y, repeats):
    """Yield every row of one case, at reg = .05 of the mean cost."""
    C = resolve_cost("sqeuclidean").matrix(x, y)
    mean = float(C.mean())
    yield from compare_solvers(C, mean / 20, repeats)
    yield from compare_values(x, y, mean / 20, repeats)
    yield from compare_jax(x, y, mean / 20, repeats)
    yield from compare_divergences(x, y, mean / 20, repeats)
    yield from floor_of_precision(C, mean / 20, repeats)
    yield from small_regularisations(C, mean)


# What is asked of a row, where anything is.
TARGETS = {
    "solve, POT sinkhorn": lambda row: row["ratio"] >= 2,
    "solve, POT sinkhorn_log": lambda row: row["ratio"] >= 6,
    "end to end, two products": lambda row: row["ratio"] <= 1.4,
    "divergence, geomloss 0.9": lambda row: row["ratio"] >= 3 and row["ours_error"] <= 1e-3,
    "asked 1e-6 in float32, POT sinkhorn": lambda row: row["ratio"] >= 0.5 and row["note"] != "max_iter",
    "reg = mean / 512": lambda row: row["note"] == "converged" and row["n_iter"] <= 300,
    "reg = mean / 5100": lambda row: row["note"] == "converged" and row["n_iter"] <= 600,
}
NEEDS_COLUMNS = "end to end, two products"  # in ten dimensions they cost less than the exponentials


def verdict(case, name, row):
    """Return whether a row is what is asked for."""
    if name not in TARGETS or (case == "D" and name == NEEDS_COLUMNS):
        return ""
    return "pass" if TARGETS[name](row) else "SHORT"


def show(case, name, row):
    """Print one row of the table."""
    cells = [f"{case:9} {name:36}"]
    for key, width, form in (("ratio", 8, ".2f"), ("ours_ms", 9, ".2f"), ("n_iter", 7, "d")):
        cells.append(f"{row[key]:{width}{form}}" if key in row else " " * width)
    for key in ("ours_error", "their_error"):
        cells.append(f"{row[key]:12.1e}" if key in row else " " * 12)
    print("".join(cells), f"{row.get('note', ''):10}", verdict(case, name, row), flush=True)


CURVES = {
    "n": [(n, 1000, 100, 20) for n in (100, 300, 1000, 3000, 10_000)],
    "m": [(1000, m, 100, 20) for m in (100, 300, 1000, 3000, 10_000)],
    "d": [(1000, 1000, d, 20) for d in (1, 10, 100, 1000, 3000)],
    "reg": [(1000, 1000, 100, divisor) for divisor in (2, 20, 100, 512, 5100)],
}


def curve(case, repeats):
    """Return milliseconds of a value with its gradient, of its two products, and the iterations."""
    n, m, d, divisor = case
    x, y = gaussians(n, m, d)
    C = resolve_cost("sqeuclidean").matrix(x, y)
    reg, weights = float(C.mean()) / divisor, torch.rand(n, m)

    def ours():
        return gradient(lambda x: entropic_cost(x, y, reg, tol=TOL), x)

    row = ratio(lambda: (x @ y.t(), weights @ y), ours, repeats)
    products = row["ours_ms"] * row["ratio"]
    return {"ours_ms": row["ours_ms"], "products_ms": products, "n_iter": sinkhorn(C, reg, tol=TOL).n_iter}


def show_curves(repeats):
    """Print the curves; return their rows."""
    print(f"\n{'varied':8}{'n':>7}{'m':>7}{'d':>6}{'mean / reg':>12}{'ours ms':>10}{'products ms':>13}{'iter':>6}")
    rows = []
    for varied, cases in CURVES.items():
        for case in cases:
            n, m, d, divisor = case
            row = curve(case, repeats)
            times = f"{row['ours_ms']:10.2f}{row['products_ms']:13.2f}{row['n_iter']:6}"
            print(f"{varied:8}{n:7}{m:7}{d:6}{divisor:12}{times}", flush=True)
            rows.append({"case": case, "what": f"curve in {varied}", **row})
    return rows


BLOCKS = (12_000, 12_000, 10)  # more than the solver holds by itself


def value_and_gradient_with(block_rows, size):
    """Return processor seconds, the process's peak memory and the value, of the first ``size`` points of BLOCKS."""
    x, y = gaussians(*BLOCKS)
    x, y = x[:size].clone().requires_grad_(), y[:size]
    values = []

    def run():
        values.append(entropic_cost(x, y, 1.0, tol=TOL, block_rows=block_rows))
        values[0].backward()

    seconds = timed(run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"seconds": seconds, "peak_mib": peak, "value": values[0].item()}


def show_blocks():
    """Print time and peak memory, the matrix held and in blocks, beside those of a hundred points; return the rows."""
    n, m, d = BLOCKS
    print(f"\n{n} x {m} points in {d} dimensions, reg = 1: seconds, the process's peak memory, value")
    rows = []
    for name, block_rows, size in (("100 x 100", None, 100), ("matrix held", n, n), ("blocks of rows", None, n)):
        command = [sys.executable, __file__, "--one", str(block_rows or 0), str(size)]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{name:20}{row['seconds']:8.2f} s{row['peak_mib']:10.0f} MiB{row['value']:12.5f}", flush=True)
        rows.append({"case": BLOCKS, "what": name, **row})
    return rows


def main():
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz with images, for the same shapes on real digits")
    parser.add_argument("--cases", nargs="*", choices=sorted(SHAPES), default=sorted(SHAPES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--curves", action="store_true", help="time against n, m, d and reg")
    parser.add_argument("--blocks", action="store_true", help="time and memory of a matrix in blocks of rows")
    parser.add_argument("--json", help="where to write the rows")
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)  # of the blocks, in this process
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    if arguments.one is not None:
        block_rows, size = arguments.one
        print(json.dumps(value_and_gradient_with(block_rows or None, size)))
        return
    print(f"{'case':9} {'what':36}{'ratio':>8}{'ours ms':>9}{'iter':>7}{'our error':>12}{'their error':>12}")
    rows = []
    for case in arguments.cases:
        samples = {case: gaussians(*SHAPES[case])}
        if arguments.data and SHAPES[case][2] == 784:
            samples[f"{case} digits"] = digits(arguments.data, *SHAPES[case][:2])
        for label, (x, y) in samples.items():
            for name, row in compare(x, y, arguments.repeats):
                show(label, name, row)
                rows.append({"case": label, "what": name, **row})
    rows += show_curves(arguments.repeats) if arguments.curves else []
    rows += show_blocks() if arguments.blocks else []
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
