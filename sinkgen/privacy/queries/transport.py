"""What both mechanisms ask of the records to move points or a network: entropic transport, clipped.

As in :mod:`sinkgen.privacy.queries.moments`, every class says why its ``sensitivity`` holds.
"""

import math
from functools import cached_property
from typing import NamedTuple

import torch

from sinkgen._groups import class_slices, split_by_class
from sinkgen.ot import entropic_cost, with_labels
from sinkgen.ot.apart import plans, stacked_costs, stacked_gradients
from sinkgen.ot.rows import softmax, whole
from sinkgen.privacy.query import ROUNDING_MARGIN, SumQuery, clip_factors, times_weights
from sinkgen.records import concatenated

# A record cannot stop a fit: what a feature map makes of it is held within this, and not finite becomes zero.
LARGEST = 1e9
# Where classes are transported apart, within so many roots of the regularisation: costs are then exact enough.
FARTHEST = 32.0


class Transported(NamedTuple):
    """What a step of the semidual mechanism releases.

    Attributes
    ----------
    mass : Tensor of shape (n,)
        Noisy number of records that each point serves, M_i.
    displacement : Tensor of shape (n, d)
        Noisy sum of what moves each point towards them, S_i.
    """

    mass: torch.Tensor
    displacement: torch.Tensor


class TransportQuery(SumQuery):
    """Mass and displacement that the records send to the generated points, by entropic transport.

    With the potentials f of the points held, a record's column of the transport plan depends on that record alone [1]_:

        p_ij = softmax_i((f_i - c(x_i, y_j)) / reg)        over the points i of the record's class.

    A record contributes ``mass_clip * p_j`` (norm at most mass_clip, for ||p_j|| <= 1) and the block
    ``-1/2 p_ij grad_1 c(x_i, y_j)`` (for squared L2: ``p_ij (y_j - x_i)``), clipped as a whole to norm ``clip``. Their
    joint norm, the sensitivity, is at most ``sqrt(clip^2 + mass_clip^2)``. No (records, points, dimensions) array is
    ever formed.

    Parameters
    ----------
    points : Tensor of shape (n, d)
    point_classes : LongTensor of shape (n,), sorted
    potentials : Tensor of shape (n,)
    reg : float
        Entropic regularisation, in units of the cost.
    cost : sinkgen.ot.costs.Cost
    clip, mass_clip : float

    References
    ----------
    .. [1] Genevay, Cuturi, Peyre, Bach, "Stochastic Optimization for Large-scale Optimal Transport", NIPS 2016,
       arXiv 1605.08527, equation (S_eps).
    """

    weighs = True
    # A block of records and its plan stay in the processor's cache from one product to the next.
    LEAST_RECORDS, MOST_RECORDS, BLOCK_ENTRIES = 128, 4096, 2**18

    def __init__(self, points, point_classes, potentials, reg, cost, *, clip, mass_clip):
        self.points, self.potentials, self.reg, self.cost = points, potentials, reg, cost
        self.clip, self.mass_clip = clip, mass_clip
        self.size = len(points) * (1 + points.shape[1])
        self.sensitivity = math.hypot(clip, mass_clip)
        self._slices = class_slices(point_classes)
        self._classes = torch.tensor(list(self._slices), dtype=torch.long, device=points.device)

    def contribution(self, records):
        """Clipped sums of one chunk: n masses, then n * d displacements."""
        mass = self.points.new_zeros(len(self.points), dtype=torch.float64)
        gradient = torch.zeros_like(self.points, dtype=torch.float64)
        for c, own in split_by_class(records, self._classes):
            rows = self._slices[c]
            size = self._block_size(rows)
            for start in range(0, len(own), size):
                block_mass, block_gradient = self._transport(own.take(slice(start, start + size)), rows)
                mass[rows] += block_mass
                gradient[rows] += block_gradient
        return torch.cat([ROUNDING_MARGIN * self.mass_clip * mass, -0.5 * gradient.flatten()])

    def _block_size(self, rows):
        n_points = rows.stop - rows.start
        return min(self.MOST_RECORDS, max(self.LEAST_RECORDS, self.BLOCK_ENTRIES // n_points))

    def _transport(self, records, rows):
        """What a block of records sends to the points of their class: mass, and -2 times the displacement."""
        x, y = self.points[rows], records.values
        n, padded = len(y), whole(y)
        cost = self.cost.matrix(padded, x)
        plan = softmax(torch.sub(self.potentials[rows] / self.reg, cost, alpha=1 / self.reg))
        squared_norms = self.cost.squared_gradient_norms(padded, x, cost).mul_(plan).mul_(plan)
        norms, plan = squared_norms.sum(1).sqrt_()[:n], plan[:n]  # of twice the displacement
        plan = times_weights(plan.double(), records)
        mass = plan.sum(0)
        plan *= clip_factors(norms, 2 * self.clip)[:, None]
        return mass, self.cost.weighted_gradient(plan.t(), x.double(), y.double())

    def read(self, value):
        """The release, in :class:`Transported`."""
        n = len(self.points)
        return Transported(value[:n] / self.mass_clip, value[n:].view(n, -1))


class LabelledCost:
    """A cost between rows whose last columns are weighted one-hot labels, as :func:`sinkgen.ot.with_labels` makes them.

    A feature map sees the values alone; labels stand beside its features.

    Parameters
    ----------
    cost : Cost
    n_classes : int
    """

    def __init__(self, cost, n_classes):
        self._cost, self._n_classes = cost, n_classes
        self.matrix = cost.matrix
        self.weighted_gradient = cost.weighted_gradient
        self.squared_gradient_norms = cost.squared_gradient_norms

    def embed(self, x):
        """Features of the values, and the labels."""
        values, labels = x[:, : -self._n_classes], x[:, -self._n_classes :]
        features = self._cost.embed(values).nan_to_num(0.0).clamp(-LARGEST, LARGEST)
        return torch.cat([features, labels], 1)


def _takes_part(records):
    known = records.labels >= 0
    return known if records.groups is None else known & (records.groups[:, 1] > 0)


class CrossGradientQuery:
    """Gradient of the entropic cost between generated points and a batch, clipped: the paper's release.

    The points' number n is public and fixed; an empty batch gives the zero gradient. Where classes share one transport
    problem, its gradient is clipped as a whole: a record can turn that matrix round, hence the sensitivity
    ``2 * clip``, whatever the batch is transported by.

    Two ways to make more of that bound change no more for one record. Where each class is transported by itself, the
    rows of each are clipped by themselves: a record turns those of its own class round. And the batch may be cut into
    microbatches, each with a transport problem of its own to all points, whose clipped gradients are added up [2]_: a
    record is in one of them, by a secret coin of its own. All of a person's rows are in one; they may be of several
    classes, and so a microbatch of persons is clipped as a whole.

    Parameters
    ----------
    points : Tensor of shape (n, d)
        Generated points.
    classes : LongTensor of shape (n,)
    n_classes : int
    label_weight : float or None
        See :func:`sinkgen.ot.with_labels`; None for a transport problem for each class.
    transport : dict
        Keyword arguments of :func:`sinkgen.ot.entropic_cost`: reg, cost, backend, tol, max_iter. A problem for each
        class takes ``max_iter`` iterations.
    clip : float
    balanced : bool
        Whether, in one problem, the records of a class have the mass together that its points have; points of a class
        of which the batch holds no record then have no gradient. Else all records weigh alike, and those that a class
        has too many of are brought to points of others.
    microbatches : int

    References
    ----------
    .. [1] Cao, Bie, Vahdat, Fidler, Kreis, "Don't Generate Me", arXiv 2111.01177, section 3.2 and algorithm 1.
    .. [2] McMahan, Andrew, Erlingsson, Chien, Mironov, Papernot, Kairouz, "A General Approach to Adding Differential
       Privacy to Iterative Training Procedures", arXiv 1812.06210 (microbatches).
    """

    def __init__(
        self, points, classes, n_classes, label_weight, transport, clip, *, balanced=False, microbatches=1,
    ):  # fmt: skip
        self.points, self.classes, self.n_classes, self.label_weight = points, classes, n_classes, label_weight
        self.transport, self.clip, self.balanced, self.microbatches = transport, clip, balanced, microbatches
        self.shape = tuple(points.shape)
        self.size = math.prod(self.shape)
        self.sensitivity = 2 * clip

    def reach(self, max_rows):
        """A person, with however many records, can turn one clipped matrix round as a record can, and no more."""
        return self.sensitivity

    def over(self, source, draw):
        """No sum over records: the batch itself is brought together."""
        return self.evaluate(source.gather(draw), draw)

    def evaluate(self, chunks, draw=None):
        """Clipped gradient in the points' values, flat, on one batch; one microbatch where nothing drew it."""
        chunks = list(chunks)
        parts = self._drawn_parts(chunks, draw)
        taken = [_takes_part(chunk) for chunk in chunks]
        batch = [chunk.take(keep) for chunk, keep in zip(chunks, taken, strict=True)]
        if not sum(map(len, batch)):
            return torch.zeros(self.size, dtype=torch.float64)
        parts = torch.cat([part[keep.cpu()] for part, keep in zip(parts, taken, strict=True)])
        return self.gradient(concatenated(batch), parts, self.microbatches).cpu().flatten()

    def _drawn_parts(self, chunks, draw):
        """The microbatch of each record: a tensor for each chunk."""
        sizes = [len(chunk) for chunk in chunks]
        if draw is None or self.microbatches == 1:
            return [torch.zeros(size, dtype=torch.long) for size in sizes]
        if draw.n_persons is None:
            return draw.parts(sum(sizes), self.microbatches).split(sizes)
        of_persons = draw.parts(draw.n_persons, self.microbatches)
        return [of_persons[chunk.groups[:, 0].long().cpu()] for chunk in chunks]

    def gradient(self, batch, parts, n_parts):
        """Sum of the clipped gradients of all microbatches, (n, d), in double precision.

        Parameters
        ----------
        batch : Records
            At least one, with its class.
        parts : LongTensor of shape (m,)
            The microbatch of each.
        n_parts : int
            How many there are.
        """
        y = batch.values.to(self.points).nan_to_num(0.0).clamp_(-LARGEST, LARGEST)
        labels, parts = batch.labels.to(y.device), parts.to(y.device)
        weights = None if batch.groups is None else batch.groups[:, 1].to(y.device)
        if self.label_weight is None:
            return self._of_classes(y, labels, parts, n_parts, weights)
        total = torch.zeros(self.shape, dtype=torch.float64, device=y.device)
        for part in parts.unique():
            own = parts == part
            gradient = self._of_all(y[own], labels[own], None if weights is None else weights[own])
            gradient = gradient.double().nan_to_num(0.0, 0.0, 0.0)
            total += gradient * clip_factors(gradient.norm()[None], self.clip)
        return total

    # --- one transport problem for all classes ---------------------------------------------------------------------

    def _of_all(self, y, labels, shares):
        """Gradient in all points, (n, d), of one microbatch."""
        gradient = torch.zeros_like(self.points)
        weights, share, rows, columns = self._masses(labels, None if shares is None else (shares / shares.sum()).to(y))
        if share:
            gradient[rows] = share * self._cross_gradient(rows, y[columns], labels[columns], weights)
        return gradient

    def _masses(self, labels, shares):
        """The records' weights, the points' share of the mass, and who takes part."""
        if not self.balanced:
            return shares, 1.0, slice(None), slice(None)
        shares = torch.ones(len(labels), device=labels.device) if shares is None else shares
        points = torch.bincount(self.classes, minlength=self.n_classes)
        records = torch.bincount(labels, shares, minlength=self.n_classes)
        rows, columns = records[self.classes] > 0, points[labels] > 0
        weights = (shares * (points / records)[labels])[columns].to(self.points)
        return weights / weights.sum(), float(rows.sum()) / len(rows), rows, columns

    def _cross_gradient(self, rows, y, labels, weights):
        y = with_labels(y, labels, self.n_classes, self.label_weight)
        x = with_labels(self.points[rows].detach(), self.classes[rows], self.n_classes, self.label_weight)
        transport = self.transport | {"cost": LabelledCost(self.transport["cost"], self.n_classes)}
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(entropic_cost(x.requires_grad_(), y, b=weights, **transport), x)
        return gradient[:, : self.points.shape[1]]

    # --- one for each class ----------------------------------------------------------------------------------------

    def _of_classes(self, y, labels, parts, n_parts, weights):
        """Sum of the clipped gradients, (n, d), of a transport problem for each class of each microbatch.

        All are solved at once and each as if alone, for a record may change one of them and no other: in double
        precision, between points and records that are not too far out for it.
        """
        reg, cost = self.transport["reg"], self.transport["cost"]
        own = self._own
        y = _held(y.double(), FARTHEST * math.sqrt(reg))
        of_records = _Cells(labels * n_parts + parts, self.n_classes * n_parts)
        b = of_records.even()
        if weights is not None:
            b = of_records.padded(weights[:, None].to(y))[:, :, 0]
            b = b / b.sum(1, keepdim=True).clamp_min(torch.finfo(b.dtype).tiny)
        x, y = _repeated(own.x, n_parts), of_records.padded(y)
        plan = plans(stacked_costs(cost, x, y), reg, _repeated(own.a, n_parts), b, self.transport["max_iter"])
        plan *= _repeated(own.shares, n_parts)
        gradients = stacked_gradients(cost, plan, x, y).nan_to_num_(0.0, 0.0, 0.0).view(len(own.x), n_parts, -1)
        norms = torch.linalg.vector_norm(gradients, dim=2)
        if weights is not None:  # a person's rows are of any classes
            norms = torch.linalg.vector_norm(norms, dim=0).expand_as(norms)
        factors = clip_factors(norms, self.clip)
        return own.cells.taken(torch.matmul(factors.unsqueeze(1), gradients).view_as(own.x))

    @cached_property
    def _own(self):
        """The points by class: what every batch is transported to."""
        cells = _Cells(self.classes, self.n_classes)
        x = _held(self.points.double(), FARTHEST * math.sqrt(self.transport["reg"]))
        shares = cells.counts.double() / len(x)
        return _Own(cells, cells.padded(x), cells.even(), shares[:, None, None])

    def read(self, value):
        """The gradient, (n, d)."""
        return value.view(self.shape).to(self.points)


class _Own(NamedTuple):
    """Points by class: in blocks, with their weights in their class, and the classes' shares of all points."""

    cells: "_Cells"
    x: torch.Tensor
    a: torch.Tensor
    shares: torch.Tensor


def _held(rows, bound):
    return rows * clip_factors(torch.linalg.vector_norm(rows, dim=1), bound)[:, None]


def _repeated(blocks, times):
    return blocks if times == 1 else blocks.repeat_interleave(times, 0)


class _Cells:
    """Rows that lie in cells, and those of each cell in a block of its own, padded with zeros.

    Examples
    --------
    >>> cells = _Cells(torch.tensor([2, 0, 2]), 3)
    >>> cells.padded(torch.tensor([[1.0], [2.0], [3.0]]))[:, :, 0]
    tensor([[2., 0.],
            [0., 0.],
            [1., 3.]])
    >>> cells.even().float()
    tensor([[1.0000, 0.0000],
            [0.0000, 0.0000],
            [0.5000, 0.5000]])
    """

    def __init__(self, cells, n_cells):
        own, order = cells.sort(stable=True)
        self.counts = torch.bincount(cells, minlength=n_cells)
        self._shape = (n_cells, int(self.counts.max()))
        starts = torch.arange(n_cells, device=cells.device) * self._shape[1] - self.counts.cumsum(0) + self.counts
        self._places = torch.empty_like(order)
        self._places[order] = torch.arange(len(cells), device=cells.device) + starts[own]

    def even(self):
        """Equal weights (n_cells, most) of the rows of each cell, of sum one."""
        held = torch.arange(self._shape[1], device=self.counts.device) < self.counts[:, None]
        return held.double() / self.counts.clamp_min(1)[:, None]

    def padded(self, rows):
        """Blocks (n_cells, most, d) of the rows (m, d)."""
        blocks = rows.new_zeros(math.prod(self._shape), rows.shape[1]).index_copy_(0, self._places, rows)
        return blocks.view(*self._shape, -1)

    def taken(self, blocks):
        """The rows of such blocks."""
        return blocks.flatten(0, 1)[self._places]
