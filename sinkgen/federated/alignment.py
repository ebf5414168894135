"""Categories of two releases that bear other names, matched by transport between what was released; no record moves."""

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from sinkgen._types import RandomState
from sinkgen._validation import check_integer
from sinkgen.data.table_checks import is_table
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.ot import sinkhorn
from sinkgen.parameters import torch_stream

DRAWS, BINS, ROUNDS = 50_000, 12, 6
MISSING: Any = None
REG = 0.02  # of the transport, as a share of the mean cost


class Alignment(NamedTuple):
    """Which category of one release is which of another.

    Attributes
    ----------
    names : dict of dict
        For each column, the other release's name of each category of the first.
    plans : dict of pandas.DataFrame
        For each column, the transport plan: how much of each category of the first (a row) is brought to each of the
        other (a column). A row that is spread out is a match to doubt.

    Examples
    --------
    :func:`align` makes it.

    >>> Alignment({"ward": {"heart": "Herz"}}, {}).names["ward"]["heart"]
    'Herz'
    """

    names: dict
    plans: dict


def align(one: Any, other: Any, *, n_draws: int = DRAWS, random_state: RandomState = None) -> Alignment:
    """Match the categories of two releases of tables whose columns are the same, but not the names of the categories.

    A category is known by how it goes with the other columns: by its joint frequencies with their states, numbers in
    common bins. Of columns of numbers and of labels the states are the same in both; those of the others are matched
    themselves, so that matches and transport plans are found in turn, from what is common. Costs are squared Hellinger
    distances between joint frequencies; a plan is entropic transport between the marginals [1]_.

    Parameters
    ----------
    one, other : DPSinkhornGenerator
        Fitted to tables. Only what they draw is looked at, which costs no privacy.
    n_draws : int
        Records that are drawn of each.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None

    Returns
    -------
    Alignment
        Columns of categories that have the same names in both are not in it.

    Raises
    ------
    TypeError, ValueError
        If they are not of tables with the same columns, or ``n_draws`` is not positive.

    References
    ----------
    .. [1] Grave, Joulin, Berthet, "Unsupervised Alignment of Embeddings with Wasserstein Procrustes", AISTATS 2019.

    Examples
    --------
    >>> import pandas as pd
    >>> from sinkgen import DPSinkhornGenerator
    >>> random = np.random.default_rng(0)
    >>> age = random.integers(18, 90, 4000)
    >>> ward = np.where(age + random.normal(0, 5, 4000) > 60, "heart", "eyes")
    >>> here = pd.DataFrame({"age": age, "ward": ward})
    >>> there = here.replace({"heart": "Herz", "eyes": "Augen"})
    >>> made = [
    ...     DPSinkhornGenerator(epsilon=5, schema={"age": (18, 90), "ward": sorted(set(X["ward"]))}).fit(X)
    ...     for X in (here, there)
    ... ]
    >>> align(*made, n_draws=5000, random_state=0).names
    {'ward': {'eyes': 'Augen', 'heart': 'Herz'}}
    """
    n, random = check_integer("n_draws", n_draws, low=1), torch_stream(random_state)
    frames = [_drawn(gen, n, random) for gen in (one, other)]
    if list(frames[0]) != list(frames[1]):
        raise BadValueError("the releases have not the same columns, in the same order")
    columns = [_Column(name, *(frame[name] for frame in frames)) for name in frames[0]]
    joints = [_joints([column.codes[i] for column in columns], [column.sizes[i] for column in columns]) for i in (0, 1)]
    plans: dict[int, Any] = {}
    for _ in range(ROUNDS):
        bridges = [_bridge(column, plans.get(j)) for j, column in enumerate(columns)]
        plans = {j: _plan(j, joints, bridges) for j, column in enumerate(columns) if not column.is_common}
    return Alignment(
        {columns[j].name: _names(columns[j], plan) for j, plan in plans.items()},
        {columns[j].name: _frame(columns[j], plan) for j, plan in plans.items()},
    )


class _Column:
    """A column in both releases, as states."""

    def __init__(self, name, *series):
        self.name = name
        is_number = [of.dtype.kind in "iufM" for of in series]
        if all(is_number):
            values = [np.asarray(of.astype("int64") if of.dtype.kind == "M" else of, np.float64) for of in series]
            both = np.concatenate(values)
            edges = np.unique(np.nanquantile(both, np.linspace(0, 1, BINS + 1)[1:-1]))
            self.codes = [np.searchsorted(edges, of, side="right") + np.isnan(of) for of in values]
            self.states: list[list[Any]] = [list(range(len(edges) + 2))] * 2
        else:
            self.states = [sorted(of.dropna().unique().tolist(), key=repr) for of in series]
            places = [{state: i for i, state in enumerate(states)} for states in self.states]
            parts = zip(series, places, strict=True)
            self.codes = [of.map(place).fillna(len(place)).to_numpy(int) for of, place in parts]
            self.states = [[*states, MISSING] for states in self.states]
        self.is_common = self.states[0] == self.states[1]

    @property
    def sizes(self):
        """Number of states in each release."""
        return [len(states) for states in self.states]


def _drawn(gen, n, random):
    found = gen.sample(n, random_state=np.random.RandomState(int(torch.randint(2**31, (), generator=random))))
    X, y = found if isinstance(found, tuple) else (found, None)
    if not is_table(X):
        raise BadTypeError("align is for releases of pandas data frames")
    return X if y is None else X.assign(label=y)


def _joints(codes, sizes):
    """Roots of the joint frequencies of any two columns."""
    return {
        (i, j): np.sqrt(np.bincount(a * sizes[j] + b, minlength=sizes[i] * sizes[j]).reshape(sizes[i], -1) / len(a))
        for i, a in enumerate(codes) for j, b in enumerate(codes) if i != j
    }  # fmt: skip


def _bridge(column, plan):
    """How states of the first stand for those of the other, (k, k'); None where that is not known yet."""
    if column.is_common:
        return np.eye(column.sizes[0])
    return None if plan is None else plan / np.maximum(np.sqrt(np.outer(plan.sum(1), plan.sum(0))), 1e-12)


def _plan(j, joints, bridges):
    """Transport between the marginals of a column's categories, by how these go with the other columns."""
    known = [i for i, bridge in enumerate(bridges) if i != j and bridge is not None]
    mine, others = (_marginal(j, joint) for joint in joints)
    cost = np.square(np.sqrt(mine)[:, None] - np.sqrt(others)[None]) / max(1, len(known))
    for i in known:
        brought, there = joints[0][j, i] @ bridges[i], joints[1][j, i]
        cost += np.square(brought).sum(1)[:, None] + np.square(there).sum(1)[None] - 2 * brought @ there.T
    masses = [torch.from_numpy(np.maximum(mass, 1e-9) / np.maximum(mass, 1e-9).sum()) for mass in (mine, others)]
    matrix = torch.from_numpy(np.maximum(cost, 0))
    return sinkhorn(matrix, REG * float(matrix.mean()), *masses).plan.numpy()


def _marginal(j, joint):
    first = next(pair for pair in joint if pair[0] == j)
    return np.square(joint[first]).sum(1)


def _names(column, plan):
    """One to one, where that has the most in common; missing cells, which have no name, are left out."""
    shares = plan / np.maximum(np.sqrt(np.outer(plan.sum(1), plan.sum(0))), 1e-12)
    rows, places = linear_sum_assignment(-shares[:-1, :-1])
    return {column.states[0][i]: column.states[1][k] for i, k in zip(rows.tolist(), places.tolist(), strict=True)}


def _frame(column, plan):
    import pandas as pd

    return pd.DataFrame(plan[:-1, :-1], index=column.states[0][:-1], columns=column.states[1][:-1])
