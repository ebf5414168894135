"""Draws from a mixture of product distributions, as :class:`~sinkgen.generators.product.ProductMixture` makes them."""

import numpy as np

from sinkgen.exceptions import BadValueError
from sinkgen.lite.balance import balanced_states, draw_labels, log_softmax
from sinkgen.lite.places import Places

CANDIDATES = 4  # drawn for each record wanted, where classes are wanted otherwise than as often as they are
BLOCK = 4096
TINY, LEAST = 1e-12, 1e-30


class Mixture:
    """A mixture's tensors, and draws from it.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Those of :class:`~sinkgen.generators.product.ProductMixture`.
    """

    def __init__(self, tensors):
        self.weights, self.frequencies = (tensors[name].astype(np.float64) for name in ("weights", "frequencies"))
        self._places, self.widths = Places(tensors), tensors["widths"].astype(np.int64)
        self.tilt, self.share = tensors["tilt"].astype(np.float64), float(tensors["share"])
        none = {"clique_steps": np.zeros((0, len(self.tilt))), "clique_tilts": np.zeros((0, 1, self.tilt.shape[1]))}
        cliques = none | tensors  # older mixtures have none
        self.clique_steps = cliques["clique_steps"].astype(np.int64)
        self.clique_tilts = cliques["clique_tilts"].astype(np.float64)
        self._starts = np.cumsum(self.widths) - self.widths

    def draw(self, labels, random):
        """Places (m, n_columns), a cell plus a fraction, of records of the given classes (m,)."""
        n, n_classes = len(labels), self.weights.shape[1]
        wanted, class_weights = np.bincount(labels, minlength=n_classes), self.weights.sum(0)
        expected = n * class_weights
        if ((wanted > 0) & (expected <= 0)).any():
            raise BadValueError("y holds a class of which there are no records")
        as_in_mixture = (np.abs(wanted - expected) <= 1).all()
        ratios = np.where(expected > 0, wanted / np.maximum(expected, TINY), 0.0)
        candidates, classes = (n, np.ones(n_classes)) if as_in_mixture else (CANDIDATES * n, ratios)
        codes = self._states(candidates, random, classes)
        if n_classes > 1:
            own, logits = self._class_logits(codes)
            if not as_in_mixture:
                with np.errstate(divide="ignore"):
                    odds = _log_sum(logits + np.log(ratios)) - _log_sum(own + np.log(ratios))
                chosen = stratified(np.exp(odds - odds.max()), n, random)
                codes, logits = codes[chosen], logits[chosen]
            drawn = draw_labels(logits, codes + self._starts, wanted, self.frequencies.shape[1], random)
        else:
            drawn = np.zeros(n, dtype=np.int64)
        rows = (drawn + random.random(n) * (1 - 1e-9)).argsort()
        out = np.empty((n, len(self.widths)))
        out[labels.argsort(kind="stable")] = self._places.draw(codes[rows], drawn[rows], random)
        return out

    def _states(self, n, random, class_ratios):
        """States (n, n_columns) of records of all classes."""
        component = stratified(self.weights @ class_ratios, n, random)
        present, counts = np.unique(component, return_counts=True)
        states = balanced_states(self.frequencies[present], counts, self.widths, random)
        columns = []
        for part in np.split(states, np.cumsum(self.widths)[:-1], axis=1):
            codes = np.repeat(np.tile(np.arange(part.shape[1]), len(part)), part.ravel())
            column = np.empty(n, dtype=np.int64)
            column[(component + random.random(n) * (1 - 1e-9)).argsort()] = codes
            columns.append(column)
        return np.stack(columns, 1)

    def _class_logits(self, codes):
        """Log-probabilities (m, n_classes) of the classes: the mixture's own, and those that labels are drawn by."""
        log_frequencies = np.log(np.maximum(self.frequencies.T, TINY)).astype(np.float32)
        weights, numbers, parts = self.weights.astype(np.float32), codes + self._starts, []
        for first in range(0, len(codes), BLOCK):
            part = numbers[first : first + BLOCK]
            fit = log_frequencies[part[:, 0]]
            for column in part.T[1:]:
                fit += log_frequencies[column]
            joint = np.exp(fit - fit.max(1, keepdims=True)) @ weights
            parts.append(log_softmax(np.log(np.maximum(joint, LEAST)).astype(np.float64)))
        own = np.concatenate(parts)
        tilt = self.tilt[numbers].sum(1)
        for steps, tilts in zip(self.clique_steps, self.clique_tilts, strict=True):
            tilt = tilt + tilts[steps[numbers].sum(1)]
        return own, log_softmax(self.share * own + tilt)


def stratified(weights, n, random):
    """Indices (n,), sorted, each as often as its weight says up to rounding at random.

    Examples
    --------
    >>> stratified(np.array([1.0, 0.0, 3.0]), 8, np.random.default_rng(0)).tolist()
    [0, 0, 2, 2, 2, 2, 2, 2]
    """
    ends = np.cumsum(weights) / np.sum(weights)
    places = (np.arange(n) + random.random()) / n
    return np.minimum(np.searchsorted(ends, places, side="right"), np.flatnonzero(weights)[-1])


def _log_sum(logits):
    top = logits.max(1, keepdims=True)
    return (top + np.log(np.exp(logits - top).sum(1, keepdims=True)))[:, 0]
