"""A mixture of product distributions over the columns of a table, from which cells are drawn."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sinkgen.data.limits import IMPOSSIBLE, draw_one
from sinkgen.exceptions import BadValueError
from sinkgen.generators.balance import balanced_states, draw_labels
from sinkgen.generators.places import Places, fraction
from sinkgen.ot.rows import product

TINY = 1e-9
LEAST = torch.finfo(torch.float32).tiny
CANDIDATES = 4  # records drawn for each that is wanted, where labels are not as frequent as in the mixture


class ProductMixture(nn.Module):
    """Draws records of a table: a component by its weight, then each column's state by the component's frequencies.

    The label of a record is drawn given its states, with probability proportional to
    ``P(c | x) ** share * prod_a exp(tilt[x_a, c])``, where P(c | x) is the mixture's own, times what the cells of
    cliques of columns say. By default labels are the mixture's. A state may be of several cells; which of them it is,
    is drawn given the state and the label.

    Draws of one call are stratified: components, the states of each column, labels, and cells given states and labels,
    occur as often as their probabilities say, nearly. Each record has the same distribution as if it were drawn alone;
    together they follow it more closely than independent ones.

    Parameters
    ----------
    weights : Tensor of shape (n_components, n_classes)
        Non-negative, sum 1: joint probability of a component and a class.
    frequencies : Tensor of shape (n_components, D)
        Probability of each of the D states of all columns; sums 1 over the states of a column.
    widths : sequence of int
        Number of states of each column.
    cell_states : Tensor of shape (C,), optional
        Which of the D states each of the C cells of all columns belongs to, rising; each state is one cell by default.
    cell_shares : Tensor of shape (n_classes, C), optional
        Probability of each cell given its state and the class; sums 1 over the cells of a state.
    parts : Tensor of shape (C, 2), optional
        From where to where in each cell, of 0 to 1, records may lie; everywhere by default.
    tilt : Tensor of shape (D, n_classes), optional
        What each state adds to the log-probability of each class; 0 by default.
    share : float
        Share of the mixture's own log-probabilities of the classes.
    clique_steps : LongTensor of shape (n_cliques, D), optional
        What each state adds to the number of the cell that a record lies in, for each clique of columns.
    clique_tilts : Tensor of shape (n_cliques, n_cells, n_classes), optional
        What each of these cells adds to the log-probability of each class.
    limits : sequence of Limits
        What may not go together: never drawn.

    Examples
    --------
    >>> mixture = ProductMixture(torch.ones(1, 1), torch.tensor([[0.5, 0.5, 1.0]]), (2, 1))
    >>> mixture.draw(torch.zeros(4, dtype=torch.long), torch.Generator().manual_seed(0)).floor().sum(0).tolist()
    [2.0, 0.0]
    """

    weights: torch.Tensor
    frequencies: torch.Tensor
    widths: torch.Tensor
    cell_states: torch.Tensor
    cell_shares: torch.Tensor
    parts: torch.Tensor
    tilt: torch.Tensor
    share: torch.Tensor
    clique_steps: torch.Tensor
    clique_tilts: torch.Tensor

    def __init__(
        self, weights, frequencies, widths, cell_states=None, cell_shares=None, *, parts=None, tilt=None, share=1.0,
        clique_steps=None, clique_tilts=None, limits=(),
    ):  # fmt: skip
        super().__init__()
        self.limits = tuple(limits)
        n_states, n_classes = sum(widths), weights.shape[1]
        cell_states = torch.arange(n_states) if cell_states is None else cell_states
        shape = (n_classes, len(cell_states))
        cell_shares = torch.ones(shape) if cell_shares is None else cell_shares
        whole = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(len(cell_states), 1)
        tilt = torch.zeros(n_states, n_classes) if tilt is None else tilt
        self.register_buffer("weights", weights.double())
        self.register_buffer("frequencies", frequencies.double())
        self.register_buffer("widths", torch.as_tensor(tuple(widths)))
        self.register_buffer("cell_states", cell_states.long())
        self.register_buffer("cell_shares", cell_shares.double())
        self.register_buffer("parts", whole if parts is None else parts.double())
        self.register_buffer("tilt", tilt.double())
        self.register_buffer("share", torch.as_tensor(share, dtype=torch.float64))
        clique_steps = torch.zeros(0, n_states) if clique_steps is None else clique_steps
        clique_tilts = torch.zeros(0, 1, n_classes) if clique_tilts is None else clique_tilts
        self.register_buffer("clique_steps", clique_steps.long())
        self.register_buffer("clique_tilts", clique_tilts.double())

    def with_labelling(self, tilt, share):
        """The same mixture with other labels."""
        return ProductMixture(
            **dict(self.named_buffers()) | {"widths": self.widths.tolist(), "tilt": tilt, "share": share},
            limits=self.limits,
        )

    def with_cliques(self, clique_steps, clique_tilts):
        """The same mixture, whose labels also follow from the cells of cliques."""
        changed = {"widths": self.widths.tolist(), "clique_steps": clique_steps, "clique_tilts": clique_tilts}
        return ProductMixture(**dict(self.named_buffers()) | changed, limits=self.limits)

    def pooled(self, share):
        """The same mixture, whose labels' log-probabilities are its own to a share, else what they were."""
        return self.with_labelling((1 - share) * self.tilt, (1 - share) * self.share + share)

    @property
    def class_weights(self):
        """Probability of each class, (n_classes,)."""
        return self.weights.sum(0)

    def draw(self, labels, random):
        """Places (m, n_columns), a cell plus a fraction, of records of the given classes (m,)."""
        n, wanted = len(labels), torch.bincount(labels, minlength=self.weights.shape[1])
        expected = n * self.class_weights
        if ((wanted > 0) & (expected <= 0)).any():
            raise BadValueError("no record of a class that is wanted can meet the conditions")
        # How much more often than in the mixture each class is wanted.
        class_ratios = torch.where(expected > 0, wanted / expected.clamp_min(TINY), 0.0)
        as_in_mixture = ((wanted - expected).abs() <= 1).all()
        class_ratios = torch.ones_like(class_ratios) if as_in_mixture else class_ratios
        codes = self.draw_states(n if as_in_mixture else CANDIDATES * n, random, class_ratios)
        if self.weights.shape[1] > 1:
            in_mixture, logits = self.class_logits(codes)
            if not as_in_mixture:
                # Candidates come from the mixture's records of the wanted classes; the model's are wanted.
                log_odds = (logits + class_ratios.log()).logsumexp(1) - (in_mixture + class_ratios.log()).logsumexp(1)
                chosen = stratified((log_odds - log_odds.max()).exp(), n, random)
                codes, logits = codes[chosen], logits[chosen]
            drawn = draw_labels(logits, self.state_numbers(codes), wanted, self.n_states, random)
        else:
            drawn = torch.zeros(n, dtype=torch.long)
        rows = (drawn + fraction(n, random)).argsort()
        out = torch.empty(n, len(self.widths), dtype=torch.float64)
        codes = self.obeying(codes[rows], drawn[rows], random)
        out[labels.argsort()] = self.places.draw(codes, drawn[rows], random)
        return out

    def obeying(self, codes, labels, random):
        """Codes (m, n_columns) of records of these classes (m,), of which none is against the limits.

        Of a record that was, linked columns are drawn anew, given the others and the class: a component by its
        posterior, then the columns by its frequencies, as far as they may go together.
        """
        for limits in self.limits:
            every = torch.cat([codes.T, labels[None]])
            rows = torch.nonzero(limits.broken(every)).flatten()
            if not len(rows):
                continue
            log_frequencies = self.frequencies.clamp_min(TINY).log()
            others = [j for j in range(codes.shape[1]) if j not in limits.columns]
            numbers = self.state_numbers(codes)[rows][:, others]
            log_weights = self.weights.clamp_min(LEAST).log()[:, labels[rows]].T
            fit = log_weights + sum((log_frequencies[:, own].T for own in numbers.T), torch.zeros(()))
            component = draw_one(fit, random)
            parts = self.frequencies[component].split(self.widths.tolist(), 1)
            logits = [
                parts[j].clamp_min(TINY).log().masked_fill(parts[j] <= 0, IMPOSSIBLE) if j < codes.shape[1]
                else limits.held(labels[rows], self.weights.shape[1])
                for j in limits.columns
            ]  # fmt: skip
            every[list(limits.columns), rows[:, None]] = limits.draw(logits, random).T
            codes = every[:-1].T.contiguous()
        return codes

    def draw_states(self, n, random, class_ratios=None):
        """States (n, n_columns) of records of all classes, sorted by component.

        Parameters
        ----------
        n : int
        random : torch.Generator
        class_ratios : Tensor of shape (n_classes,), optional
            How much more often than its weight says each class occurs; 1 by default.
        """
        weights = self.weights.sum(1) if class_ratios is None else self.weights @ class_ratios
        component = stratified(weights, n, random)
        present, counts = torch.unique_consecutive(component, return_counts=True)
        widths = self.widths.tolist()
        states = balanced_states(self.frequencies[present].numpy(), counts.numpy(), widths, random)
        columns = []
        for part in np.split(states, np.cumsum(widths)[:-1], axis=1):
            codes = np.repeat(np.tile(np.arange(part.shape[1]), len(part)), part.flatten())
            # In random order within each component.
            order = (component + fraction(len(component), random)).argsort()
            columns.append(torch.empty(len(component), dtype=torch.long).scatter_(0, order, torch.from_numpy(codes)))
        return torch.stack(columns, 1)

    @property
    def places(self):
        """Where in its state a record lies."""
        return Places(self.widths.tolist(), self.cell_states, self.cell_shares, self.parts)

    @property
    def n_states(self):
        """Number D of the states of all columns."""
        return self.frequencies.shape[1]

    def state_numbers(self, codes):
        """Codes (m, n_columns) as places among the D states of all columns."""
        return codes + self.widths.cumsum(0) - self.widths

    def class_probabilities(self, codes):
        """The mixture's own probabilities (m, n_classes) of the classes of records, given their codes."""
        return self.class_logits(codes)[0].exp()

    def class_logits(self, codes):
        """Log-probabilities (m, n_classes) of the classes: the mixture's own, and those that labels are drawn by."""
        weights, log_frequencies = self.weights.float(), self.frequencies.T.contiguous().clamp_min(TINY).log().float()
        numbers, chunks = self.state_numbers(codes), []
        for part in numbers.split(8192):
            fit = F.embedding_bag(part, log_frequencies, mode="sum")  # a component's log-probability of each record
            joint = product(fit.sub_(fit.amax(1, keepdim=True)).exp_(), weights)
            chunks.append(joint.clamp_min_(LEAST).log_().log_softmax(1))
        own = torch.cat(chunks).double()
        tilt = F.embedding_bag(numbers, self.tilt, mode="sum")
        for steps, tilts in zip(self.clique_steps, self.clique_tilts, strict=True):
            tilt = tilt + tilts[steps[numbers].sum(1)]
        return own, (self.share * own + tilt).log_softmax(1)

    def condition(self, parts):
        """The mixture given that each column's cell lies in a part of its cells.

        Parameters
        ----------
        parts : list of arrays (n_cells, 2), or None
            One a column: from where to where in each cell records may lie. None is everywhere.

        Returns
        -------
        ProductMixture

        Raises
        ------
        ValueError
            If no record can meet the conditions.
        """
        given, widths = {name: buffer.clone() for name, buffer in self.named_buffers()}, self.widths.tolist()
        joint = self.weights.T @ self.frequencies
        places, found = self.places.condition(parts, joint)
        states = torch.arange(self.n_states).split(widths)
        for own, by_class in zip(states, found, strict=True):
            if by_class is not None:
                _restrict(given, joint[:, own], by_class, own)
        if not given["weights"].sum() > 0:
            raise BadValueError("no record can meet the conditions")
        given["weights"] /= given["weights"].sum()
        return ProductMixture(**given | dict(places.named_buffers()) | {"widths": widths}, limits=self.limits)


def _restrict(given, joint, by_class, states):
    """Reweight a mixture's buffers, in place, by the chance that a record's cell of one column meets conditions.

    Parameters
    ----------
    given : dict of str to Tensor
    joint : Tensor of shape (n_classes, n_states)
        Probability of each class and state of the column, before.
    by_class : Tensor of shape (n_classes, n_states)
        Chance of each state to meet them, given the class.
    states : LongTensor of shape (n_states,)
        The column's.
    """
    chance = (joint * by_class).sum(0) / joint.sum(0).clamp_min(1e-300)
    frequencies = given["frequencies"][:, states]
    given["weights"] *= frequencies @ by_class.T
    meeting = frequencies * chance
    met = meeting.sum(1, keepdim=True)
    given["frequencies"][:, states] = torch.where(met > 0, meeting / met, frequencies)
    given["tilt"][states] += (by_class / chance.clamp_min(1e-300)).clamp_min(TINY).log().T * (chance > 0)[:, None]


def stratified(weights, n, random):
    """Indices (n,), sorted, each as often as its weight says up to rounding at random.

    Examples
    --------
    >>> stratified(torch.tensor([1.0, 0.0, 3.0]), 8, torch.Generator().manual_seed(0)).tolist()
    [0, 0, 2, 2, 2, 2, 2, 2]
    """
    ends = weights.cumsum(0) / weights.sum()
    places = (torch.arange(n, dtype=torch.float64) + torch.rand((), generator=random)) / n
    return torch.searchsorted(ends, places, right=True).clamp_max(int(torch.nonzero(weights)[-1]))
