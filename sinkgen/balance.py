"""Draws that follow their probabilities more closely than independent ones: rounding errors are carried along."""

import numpy as np
import torch

STREAM = 8192  # records whose labels are balanced one after the other
ROOM = 2**24  # counters of all streams together
MOST_PAIRS = 300
PAIR_COUNTERS = 2**16  # pairs of states share so many counters
STATE_PULL, PAIR_PULL = 0.03, 0.01  # logits by which a counter that is off by one pulls labels back
MOST_PULL = 1.5  # if all are


def balanced_states(frequencies, counts, widths, generator):
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
    generator : torch.Generator

    Returns
    -------
    ndarray of shape (n_components, D), int

    Examples
    --------
    >>> half = np.full((4, 2), 0.5)
    >>> balanced_states(half, np.ones(4, dtype=int), [2], torch.Generator().manual_seed(0)).sum(0).tolist()
    [2, 2]
    """
    starts = np.cumsum(widths) - widths
    frequencies = frequencies / np.repeat(np.add.reduceat(frequencies, starts, axis=1), widths, axis=1)
    expected = counts[:, None] * frequencies
    whole = np.floor(expected + 1e-9)
    part = np.maximum(expected - whole, 0.0)
    missing = counts[:, None] - np.add.reduceat(whole, starts, axis=1)
    offsets = torch.rand(missing.shape, generator=generator, dtype=torch.float64).numpy()
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


def balanced_labels(logits, states, wanted, n_states, generator):
    """Labels of records, given the log-probabilities of the classes: just as many of each class as are wanted.

    Records come one after the other, in streams of at most ``STREAM``. For every state and pair of states it is counted
    how much oftener than expected each class has been drawn so far; a record's logits are pulled the other way. So the
    labels' own randomness hardly shows in the marginals with the label, nor in what a classifier learns from them.

    Parameters
    ----------
    logits : Tensor of shape (m, n_classes)
    states : LongTensor of shape (m, n_columns)
        Numbers of the records' states, among all columns' ``n_states``.
    wanted : LongTensor of shape (n_classes,)
        Sum m.
    n_states : int
    generator : torch.Generator

    Returns
    -------
    LongTensor of shape (m,)

    References
    ----------
    .. [1] Alweiss, Liu, Sawhney, "Discrepancy Minimization via a Self-Balancing Walk", STOC 2021.

    Examples
    --------
    >>> states = torch.zeros(6, 1, dtype=torch.long)
    >>> wanted = torch.tensor([4, 2])
    >>> labels = balanced_labels(torch.zeros(6, 2), states, wanted, 1, torch.Generator().manual_seed(0))
    >>> torch.bincount(labels).tolist()
    [4, 2]
    """
    logits = _to_class_counts(logits.double(), wanted)
    n, n_classes = logits.shape
    order = torch.randperm(n, generator=generator)
    chance = torch.rand(n, generator=generator, dtype=torch.float64)[order].numpy()
    pairs = _some_pairs(states.shape[1], generator)
    labels = torch.empty(n, dtype=torch.long)
    n_counters = n_states + (PAIR_COUNTERS if len(pairs) else 0)
    at_once = max(1, ROOM // (n_counters * n_classes)) * STREAM
    for rows in np.array_split(np.arange(n), -(-n // at_once)):
        chosen = order[rows]
        drawn = _walk(logits[chosen].numpy(), states[chosen].numpy(), chance[rows], pairs, n_states, n_counters)
        labels[chosen] = torch.from_numpy(drawn)
    return _exact(labels, logits, wanted, generator)


def _to_class_counts(logits, wanted):
    """Log-probabilities, shifted by class so that as many of each class are expected as are wanted."""
    share = wanted.double() / wanted.sum()
    out = (logits + torch.where(share > 0, 0.0, -torch.inf)).log_softmax(1)
    for _ in range(20):
        mean = out.exp().mean(0)
        out = (out + torch.where(share > 0, (share / mean.clamp_min(1e-300)).log(), -torch.inf)).log_softmax(1)
    return out


def _some_pairs(n_columns, generator):
    pairs = torch.combinations(torch.arange(n_columns))
    return pairs[torch.randperm(len(pairs), generator=generator)[:MOST_PAIRS]].numpy()


def _walk(logits, states, chance, pairs, n_states, n_counters):
    """Labels (m,) of records of streams that go side by side."""
    n_streams = -(-len(logits) // STREAM)
    n_classes = logits.shape[1]
    surplus = np.zeros((n_streams * n_counters, n_classes), dtype=np.float32)
    pull = np.repeat(np.array([STATE_PULL, PAIR_PULL], dtype=np.float32), [states.shape[1], len(pairs)])
    pull *= min(1.0, MOST_PULL / pull.sum())
    probabilities = np.exp(logits)
    labels = np.empty(len(logits), dtype=np.int64)
    for start in range(0, len(logits), n_streams):
        rows = slice(start, start + n_streams)
        own = states[rows]
        together = (own[:, pairs[:, 0]] * n_states + own[:, pairs[:, 1]]) % PAIR_COUNTERS
        counters = np.concatenate([own, n_states + together], 1) + n_counters * np.arange(len(own))[:, None]
        pulled = logits[rows] - pull @ surplus[counters]
        pulled = np.exp(pulled - pulled.max(1, keepdims=True)).cumsum(1)
        drawn = (pulled < chance[rows, None] * pulled[:, -1:]).sum(1)
        labels[rows] = drawn
        excess = -probabilities[rows]
        excess[np.arange(len(own)), drawn] += 1
        surplus[counters] += excess[:, None, :]
    return labels


def _exact(labels, logits, wanted, generator):
    """As many of each class as are wanted: a few records change, those to which both classes are likely."""
    missing = wanted - torch.bincount(labels, minlength=len(wanted))
    for c in torch.nonzero(missing < 0).flatten().tolist():
        for other in torch.nonzero(missing > 0).flatten().tolist():
            rows = torch.nonzero(labels == c).flatten()
            gumbel = -torch.empty(len(rows), dtype=torch.float64).exponential_(generator=generator).log()
            ease = logits[rows, other] - logits[rows, c] + gumbel
            n = min(int(-missing[c]), int(missing[other]))
            labels[rows[ease.topk(n).indices]] = other
            missing[c] += n
            missing[other] -= n
    return labels
