"""What both mechanisms ask of the records to move points or a network: entropic transport, clipped.

As in :mod:`sinkgen.privacy.queries.moments`, every class says why its ``sensitivity`` holds.
"""

import math
from typing import NamedTuple

import torch

from sinkgen._groups import class_slices, split_by_class
from sinkgen.ot import entropic_cost, with_labels
from sinkgen.ot.rows import softmax, whole
from sinkgen.privacy.query import ROUNDING_MARGIN, SumQuery, clip_factors

# A record cannot stop a fit: what a feature map makes of it is held within this, and not finite becomes zero.
LARGEST = 1e9


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
            for block in own.split(self._block_size(rows)):
                block_mass, block_gradient = self._transport(block, rows)
                mass[rows] += block_mass
                gradient[rows] += block_gradient
        return torch.cat([ROUNDING_MARGIN * self.mass_clip * mass, -0.5 * gradient.flatten()])

    def _block_size(self, rows):
        n_points = rows.stop - rows.start
        return min(self.MOST_RECORDS, max(self.LEAST_RECORDS, self.BLOCK_ENTRIES // n_points))

    def _transport(self, y, rows):
        """What a block of records sends to the points of their class: mass, and -2 times the displacement."""
        x, n, padded = self.points[rows], len(y), whole(y)
        cost = self.cost.matrix(padded, x)
        plan = softmax(torch.add(self.potentials[rows] / self.reg, cost, alpha=-1 / self.reg))
        squared_norms = self.cost.squared_gradient_norms(padded, x, cost).mul_(plan).mul_(plan)
        norms, plan = squared_norms.sum(1).sqrt_()[:n], plan[:n]  # of twice the displacement
        plan = plan.double()
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


def _shares(batch, like):
    """The records' weights as they are for transport, of sum 1; None where all are the same."""
    if batch[0].groups is None:
        return None
    weights = torch.cat([part.groups[:, 1] for part in batch])
    return (weights / weights.sum()).to(like)


class CrossGradientQuery:
    """Gradient of the entropic cost between generated points and a batch, clipped as a whole: the paper's release.

    The points' number n is public and fixed; an empty batch gives the zero gradient. A record can turn the whole
    clipped matrix round, hence the sensitivity ``2 * clip``, whatever the batch is transported by.

    Parameters
    ----------
    points : Tensor of shape (n, d)
        Generated points.
    classes : LongTensor of shape (n,)
    n_classes : int
    label_weight : float
        See :func:`sinkgen.ot.with_labels`.
    transport : dict
        Keyword arguments of :func:`sinkgen.ot.entropic_cost`: reg, cost, backend, tol, max_iter.
    clip : float
    balanced : bool
        Whether the records of a class have the mass together that its points have; points of a class of which the batch
        holds no record then have no gradient. Else all records weigh alike, and those that a class has too many of are
        brought to points of others.
    basis : Tensor of shape (d, k), optional
        Orthonormal columns: the gradient is that of the coordinates in these directions, (n, k).

    References
    ----------
    .. [1] Cao, Bie, Vahdat, Fidler, Kreis, "Don't Generate Me", arXiv 2111.01177, section 3.2 and algorithm 1.
    """

    def __init__(self, points, classes, n_classes, label_weight, transport, clip, *, balanced=False, basis=None):
        self.points, self.classes, self.n_classes, self.label_weight = points, classes, n_classes, label_weight
        self.transport, self.clip, self.balanced, self.basis = transport, clip, balanced, basis
        self.shape = (len(points), points.shape[1] if basis is None else basis.shape[1])
        self.size = math.prod(self.shape)
        self.sensitivity = 2 * clip

    def reach(self, max_rows):
        """A person, with however many records, can turn the clipped matrix round as a record can, and no more."""
        return self.sensitivity

    def evaluate(self, chunks):
        """Clipped gradient in the points' values, flat, on one batch."""
        batch = [chunk.take(_takes_part(chunk)) for chunk in chunks]
        gradient = torch.zeros_like(self.points)
        if sum(map(len, batch)):
            values, labels = torch.cat([part.values for part in batch]), torch.cat([part.labels for part in batch])
            weights, share, rows, columns = self._masses(labels, _shares(batch, gradient))
            if share:
                y = values[columns].nan_to_num(0.0).clamp(-LARGEST, LARGEST).to(gradient)
                gradient[rows] = share * self._cross_gradient(rows, y, labels[columns], weights)
        if self.basis is not None:
            gradient = gradient @ self.basis.to(gradient)
        gradient = gradient.double().cpu().flatten().nan_to_num(0.0, 0.0, 0.0)
        return gradient * clip_factors(gradient.norm()[None], self.clip)

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
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(entropic_cost(x.requires_grad_(), y, b=weights, **self.transport), x)
        return gradient[:, : self.points.shape[1]]

    def over(self, source, draw):
        """No sum over records: the batch itself is brought together."""
        return self.evaluate(source.gather(draw))

    def read(self, value):
        """The gradient, (n, d) or (n, k)."""
        return value.view(self.shape).to(self.points)
