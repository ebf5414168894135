"""Draws that occur as often as their probabilities say: states of components, labels of records; by numpy alone."""

from typing import Any, Protocol

import numpy as np

# Constants chosen by trials: docs/experiments.md, Tables.
BLOCKS = 1024  # of records whose labels are drawn at once
SWEEPS = 2
MOST_BALANCED = 100_000  # records; of more, independent labels are as good
PULL = 0.5  # logits by which a count that is off by one pulls labels back, a record at a time


class Random(Protocol):
    """What draws: a :class:`numpy.random.Generator`, or a stream of torch in its place."""

    def random(self, size: Any = None) -> Any:
        """Uniform on [0, 1)."""

    def gumbel(self, *, size: Any) -> Any:
        """Minus the logarithm of exponential numbers."""

    def permutation(self, n: int) -> Any:
        """0, ..., n - 1 in random order."""


def balanced_states(frequencies, counts, widths, random):
    """How many records of each component have each state: whole numbers, whose errors do not add up.

    Components come one after the other. Each gets the whole part of its expected counts, and one more in as many states
    of a column as are missing, chosen by systematic sampling: the more likely, the further the state has fallen back in
    the components before.

    Parameters
    ----------
    frequencies : ndarray of shape (n_components, D)
    counts : ndarray of shape (n_components,)
        Records of each component.
    widths : sequence of int
    random : Random

    Returns
    -------
    ndarray of shape (n_components, D), int

    Examples
    --------
    >>> half = np.full((4, 2), 0.5)
    >>> balanced_states(half, np.ones(4, dtype=int), [2], np.random.default_rng(2)).sum(0).tolist()
    [2, 2]
    """
    starts = np.cumsum(widths) - widths
    frequencies = frequencies / np.repeat(np.add.reduceat(frequencies, starts, axis=1), widths, axis=1)
    expected = counts[:, None] * frequencies
    whole = np.floor(expected + 1e-9)
    part = np.maximum(expected - whole, 0.0)
    missing = counts[:, None] - np.add.reduceat(whole, starts, axis=1)
    offsets = random.random(missing.shape)
    behind, out = np.zeros(frequencies.shape[1]), whole.astype(np.int64)
    for k in np.flatnonzero(missing.any(1)):
        chance = _to_sums(part[k] * np.exp(np.clip(behind, -3, 3)), missing[k], starts, widths)
        ends = np.cumsum(chance)
        ends -= np.repeat(ends[starts] - chance[starts], widths)  # of each column, from 0 to what is missing
        ends[starts[1:] - 1], ends[-1] = missing[k, :-1], missing[k, -1]
        steps = np.ceil(np.maximum(ends - np.repeat(offsets[k], widths), 0.0))
        more = np.diff(steps, prepend=0.0)
        more[starts] = steps[starts]
        out[k] += more.astype(np.int64)
        behind += part[k] - more
    return out


def _to_sums(values, sums, starts, widths):
    """Values scaled to given sums of each column, and held at 1; those that reach it leave the rest to the others."""
    full = np.zeros(len(values), dtype=bool)
    while True:
        room = sums - np.add.reduceat(full.astype(float), starts)
        free = np.add.reduceat(np.where(full, 0.0, values), starts)
        scaled = np.where(full, 1.0, values * np.repeat(room / np.maximum(free, 1e-300), widths))
        more = scaled > 1
        if not more.any():
            return scaled
        full |= more


def draw_labels(logits, states, wanted, n_states, random):
    """Labels of records, given the log-probabilities of the classes: just as many of each class as are wanted.

    Labels are not independent: those draws are likelier in which each state has each class as often as expected, as
    if ``exp(-PULL / 2 * squared errors of these counts)`` were a factor of their probability. Gibbs sampling [1]_, a
    block of records at a time. So the randomness of a few hundred labels hardly shows in the counts that a classifier
    learns from. Of many records it would not anyway: they are independent, but for how many there are of each class.

    Parameters
    ----------
    logits : ndarray of shape (m, n_classes)
    states : ndarray of shape (m, n_columns)
        Numbers of the records' states, among all columns' ``n_states``.
    wanted : ndarray of shape (n_classes,)
        Sum m.
    n_states : int
    random : Random

    Returns
    -------
    ndarray of shape (m,)

    References
    ----------
    .. [1] Geman, Geman, "Stochastic Relaxation, Gibbs Distributions, and the Bayesian Restoration of Images", 1984.

    Examples
    --------
    >>> states = np.zeros((6, 1), dtype=int)
    >>> np.bincount(draw_labels(np.zeros((6, 2)), states, np.array([4, 2]), 1, np.random.default_rng(0))).tolist()
    [4, 2]
    """
    logits = _to_class_counts(logits, wanted)
    if len(logits) > MOST_BALANCED:
        labels = (logits + random.gumbel(size=logits.shape)).argmax(1)
    else:
        labels = _balanced(logits, states, n_states, random)
    return _exact(labels, logits, wanted, random)


def _balanced(log_probabilities, states, n_states, random):
    (n, n_classes), n_columns = log_probabilities.shape, states.shape[1]
    expected = np.exp(log_probabilities)
    blocks = np.array_split(random.permutation(n), min(n, BLOCKS))
    pull = PULL / max(1, n // BLOCKS)  # records of a block do not see each other
    surplus, labels = np.zeros((n_states, n_classes)), np.full(n, -1)
    for sweep in range(SWEEPS):
        gumbel = random.gumbel(size=log_probabilities.shape)
        for rows in blocks:
            own, excess = states[rows], -expected[rows]
            if sweep:
                before = excess.copy()
                before[np.arange(len(rows)), labels[rows]] += 1
                np.subtract.at(surplus, own, before[:, None, :])
            # Half the square of an error grows by the error and what the label itself adds to it.
            growth = surplus[own].sum(1) + n_columns * excess
            drawn = (log_probabilities[rows] + gumbel[rows] - pull * growth).argmax(1)
            excess[np.arange(len(rows)), drawn] += 1
            np.add.at(surplus, own, excess[:, None, :])
            labels[rows] = drawn
    return labels


def _to_class_counts(logits, wanted):
    """Log-probabilities, shifted by class so that as many of each class are expected as are wanted."""
    share = wanted / wanted.sum()
    out = log_softmax(logits + np.where(share > 0, 0.0, -np.inf))
    for _ in range(20):
        ratio = share / np.maximum(np.exp(out).mean(0), 1e-300)
        out = log_softmax(out + np.where(share > 0, np.log(np.where(share > 0, ratio, 1.0)), -np.inf))
    return out


def log_softmax(logits):
    """Logits (m, k), shifted so that their exponentials sum to 1 in each row."""
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _exact(labels, logits, wanted, random):
    """As many of each class as are wanted: a few records change, those to which both classes are likely."""
    missing = wanted - np.bincount(labels, minlength=len(wanted))
    for c in np.flatnonzero(missing < 0).tolist():
        for other in np.flatnonzero(missing > 0).tolist():
            rows = np.flatnonzero(labels == c)
            ease = logits[rows, other] - logits[rows, c] + random.gumbel(size=len(rows))
            n = min(-missing[c], missing[other])
            labels[rows[np.argsort(-ease, kind="stable")[:n]]] = other
            missing[c] += n
            missing[other] -= n
    return labels
