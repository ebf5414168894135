"""A mixture that draws persons with several rows each; it draws single rows as any mixture does."""

from typing import NamedTuple

import torch

from sinkgen.generators.product import TINY, ProductMixture, stratified

PEOPLE = ("types", "sizes", "size_frequencies", "constant", "ordered", "held", "spread")
LEAST_DRAWN = 2000  # persons: what is moved is moved by the correlations among those that are drawn together
ROUNDS = 5  # of moves; each comes nearer, for means of few rows hold part of what these differ by


class Sizes:
    """Numbers of rows of a person: 1 to 31 each on its own, then ever wider cells up to a public most.

    Attributes
    ----------
    edges : LongTensor of shape (n_cells + 1,)
        A cell holds its left end.
    bins : LongTensor of shape (n_cells,)
        Half octave of each cell: 1, 2, 3, 4 and 5, 6 and 7, 8 to 11 and so on.
    middle : Tensor of shape (n_cells,)
        The mean of the numbers in each.
    n_single : int
        Cells of one number.
    """

    def __init__(self, n_single=31, most=1024):
        wide = [(4 + part) << octave for octave in range(3, most.bit_length()) for part in range(4)]
        ends = [*range(1, n_single + 2), *[end for end in wide if n_single + 1 < end <= most], most + 1]
        self.edges, self.n_single = torch.tensor(ends), n_single
        self.middle = (self.edges[:-1] + self.edges[1:] - 1).double() / 2
        halves = torch.tensor([part << octave for octave in range(most.bit_length()) for part in (2, 3)]) // 2
        self.bins = torch.searchsorted(halves.unique(), self.edges[:-1], right=True) - 1

    def __len__(self):
        return len(self.bins)

    def cell(self, n_rows):
        """Cells (m,) of numbers of rows; more than the most are as many as it.

        Examples
        --------
        >>> Sizes().cell(torch.tensor([1, 31, 32, 39, 10_000])).tolist()
        [0, 30, 31, 31, 51]
        """
        found = torch.searchsorted(self.edges, n_rows.long(), right=True) - 1
        return found.clamp(0, len(self) - 1)

    def draw(self, cells, random):
        """Numbers of rows (m,) in cells."""
        low, high = self.edges[cells], self.edges[cells + 1]
        return low + ((high - low) * torch.rand(len(cells), generator=random, dtype=torch.float64)).long()


SIZES = Sizes()


class Drawn(NamedTuple):
    """Rows of persons, those of a person beside each other.

    Attributes
    ----------
    places : Tensor of shape (m, n_columns)
        A cell plus a fraction.
    labels : LongTensor of shape (m,)
    persons : LongTensor of shape (m,), rising
        Number of each row's person, from 0.
    """

    places: torch.Tensor
    labels: torch.Tensor
    persons: torch.Tensor


class PeopleMixture(ProductMixture):
    """Components are types of rows of types of persons; what is constant within a person is the same in all of a type.

    Parameters
    ----------
    types : LongTensor of shape (n_components,), rising
        Type of person of each component.
    sizes : Tensor of shape (S,)
        Share of the persons that have each number of rows, in the cells of ``SIZES``.
    size_frequencies : Tensor of shape (n_components, n_bins)
        Of the octaves of these.
    constant : Tensor of bool, (n_columns + 1,)
        Which columns, and last the label, are the same in all rows of a person.
    ordered : LongTensor of shape (p,)
        Columns whose normal scores are moved; those that are constant come first.
    held : LongTensor of shape (p,)
        How many of the cells of each hold something, and not missing ones.
    spread : Tensor of shape (2, p, p)
        Correlations that these scores shall have: in a row, and across two rows of a person.
    **rows
        What :class:`~sinkgen.generators.product.ProductMixture` takes.
    """

    types: torch.Tensor
    sizes: torch.Tensor
    size_frequencies: torch.Tensor
    constant: torch.Tensor
    ordered: torch.Tensor
    held: torch.Tensor
    spread: torch.Tensor

    def __init__(
        self, *, types, sizes, size_frequencies, constant, ordered, held, spread, **rows,
    ):  # fmt: skip
        super().__init__(**rows)
        self.register_buffer("types", types.long())
        self.register_buffer("sizes", sizes.double())
        self.register_buffer("size_frequencies", size_frequencies.double())
        self.register_buffer("constant", constant.bool())
        self.register_buffer("ordered", ordered.long())
        self.register_buffer("held", held.long())
        self.register_buffer("spread", spread.double())

    @classmethod
    def of(cls, rows, **people):
        """Of a mixture of rows, and the rest."""
        own = dict(rows.named_buffers()) | {"widths": rows.widths.tolist()}
        return cls(**people, **own)

    def draw(self, labels, random):
        """Places (m, n_columns) of single rows of the given classes (m,), each of a person of its own.

        Their ordered columns correlate as those of persons' rows do: scores are moved by the map that brings rows of
        all classes to the released correlations, and find the place of those that have as high a score there.
        """
        places, weights = super().draw(labels, random), self.class_weights.double()
        if not len(self.ordered):
            return places
        n = max(len(labels), LEAST_DRAWN)
        as_in_all = (torch.bincount(labels, minlength=len(weights)) - n * weights).abs().max() <= 1
        typical = places if as_in_all else super().draw(stratified(weights, n, random), random)
        own, all_ = places[:, self.ordered], typical[:, self.ordered]
        held = all_ < self.held
        scores = _scores(all_, held, torch.ones(n, dtype=torch.float64))
        current = scores.T @ scores / n
        root = current.diagonal().clamp_min(1e-6).sqrt()
        current = current / (root[:, None] * root)
        moving = ~self.constant[self.ordered]
        wanted = self.spread[0].clone()
        wanted[(~moving)[:, None] & ~moving] = current[(~moving)[:, None] & ~moving]
        turn = _triangular(current, wanted).T
        moved = (scores / root) @ turn
        moved_own = moved if as_in_all else (_scores_among(own, all_, self.held) / root) @ turn
        for j in torch.nonzero(moving)[:, 0].tolist():
            inside, rows = held[:, j], torch.nonzero(own[:, j] < self.held[j])[:, 0]
            order = torch.searchsorted(moved[inside, j].sort().values, moved_own[rows, j])
            places[rows, self.ordered[j]] = all_[inside, j].sort().values[order.clamp_max(int(inside.sum()) - 1)]
        return places

    @property
    def rows(self):
        """The mixture of rows alone."""
        own = {name: buffer for name, buffer in self.named_buffers() if name not in PEOPLE}
        return ProductMixture(**own | {"widths": self.widths.tolist()})

    def with_labelling(self, tilt, share):
        """Rows with other labels."""
        return self.rows.with_labelling(tilt, share)

    def condition(self, parts):
        """Rows under conditions; see :class:`~sinkgen.generators.product.ProductMixture`."""
        return self.rows.condition(parts)

    def draw_people(self, n, random, order=None):
        """Rows of ``n`` persons.

        Parameters
        ----------
        n : int
        random : torch.Generator
        order : int, optional
            Column by which the rows of a person are sorted.

        Returns
        -------
        Drawn
        """
        whole = max(n, LEAST_DRAWN)
        cells = stratified(self.sizes, whole, random)
        types = self._draw_types(SIZES.bins[cells], random)
        shuffled = torch.randperm(whole, generator=random)
        n_rows, types = SIZES.draw(cells[shuffled], random), types[shuffled]
        persons = torch.repeat_interleave(torch.arange(whole), n_rows)
        components, labels = self._draw_components(types, persons, random)
        places = self._draw_places(components, labels, persons, random)
        if len(self.ordered):
            places[:, self.ordered] = self._moved(places[:, self.ordered], persons)
        rows = torch.arange(len(persons))
        if order is not None:
            rows = places[:, order].argsort(stable=True)
            rows = rows[persons[rows].argsort(stable=True)]
        rows = rows[: int(n_rows[:n].sum())]
        return Drawn(places[rows], labels[rows], persons[rows])

    def _draw_types(self, bins, random):
        """A type for each person, given the octave of the number of rows."""
        starts = self._type_starts
        weights = self.weights.new_zeros(len(starts)).index_add_(0, self.types, self.weights.sum(1))
        joint = (weights[:, None] * self.size_frequencies[starts]).clamp_min(TINY * weights[:, None])
        out = torch.empty_like(bins)
        for size in bins.unique().tolist():
            own = torch.nonzero(bins == size)[:, 0]
            out[own[torch.randperm(len(own), generator=random)]] = stratified(joint[:, size], len(own), random)
        return out

    def _draw_components(self, types, persons, random):
        """Of each row the component, one of its person's type, and the class."""
        starts, n_classes = self._type_starts, self.weights.shape[1]
        inner = torch.arange(len(self.types)) - starts[self.types]
        joint = self.weights.new_zeros(len(starts), int(inner.max()) + 1, n_classes)
        joint[self.types, inner] = self.weights
        own = types[persons]
        if self.constant[-1]:
            labels = _draw(joint.sum(1), types, random)[persons]
            found = _draw(joint.transpose(1, 2).flatten(0, 1), own * n_classes + labels, random)
        else:
            found = _draw(joint.flatten(1), own, random)
            found, labels = found // n_classes, found % n_classes
        return starts[own] + found, labels

    def _draw_places(self, components, labels, persons, random):
        """Places (m, n_columns); of constant columns they are those of each person's first row."""
        columns = self.frequencies.split(self.widths.tolist(), 1)
        codes = torch.stack([_draw(of, components, random) for of in columns], 1)
        places = self.places.draw(codes, labels, random)
        firsts = torch.searchsorted(persons, persons)
        same = self.constant[:-1]
        places[:, same] = places[firsts][:, same]
        return places

    @property
    def _type_starts(self):
        """The first component of each type."""
        counts = torch.unique_consecutive(self.types, return_counts=True)[1]
        return counts.cumsum(0) - counts

    def _moved(self, places, persons):
        """Places (m, p) of the ordered columns, dealt anew to the rows, so that scores correlate as they shall.

        Scores are moved by triangular linear maps, means of persons by one and what rows differ by from these by
        another, so that constant columns stay; then each column's places are dealt to the rows by the order of the
        scores. Missing cells stay where they are, and count as 0.
        """
        n_rows = torch.bincount(persons)
        weights = 1 / n_rows[persons].double()
        held = places < self.held
        scores = _scores(places, held, weights)
        moving = ~self.constant[self.ordered]
        target, between = self.spread
        shared = (moving[:, None] & moving).double()
        part = float((1 / n_rows[n_rows > 1]).mean())
        for _ in range(ROUNDS):
            current = spread_of(scores, persons, n_rows)
            if current is None:
                return places
            root = current[0].diagonal().clamp_min(1e-6).sqrt()
            total, across = current / (root[:, None] * root)
            means = scores.new_zeros(len(n_rows), scores.shape[1]).index_add_(0, persons, scores * weights[:, None])
            means = means[persons] / root
            rest = scores / root - means
            kept = ~moving
            wanted = between.clone()
            wanted[kept[:, None] & kept] = across[kept[:, None] & kept]
            # A mean of m rows has a part of 1 / m of what rows differ by. Without it a column in which persons hardly
            # differ, such as a day, would have means of nearly no variance, and be blown up beyond all others.
            before, after = ((total - across) * shared, (target - between) * shared)
            means = means @ _triangular(across + before * part, wanted + after * part).T
            rest[:, moving] = rest[:, moving] @ _triangular(before[moving][:, moving], after[moving][:, moving]).T
            scores = torch.where(moving, means + rest, scores)
        out = places.clone()
        for j in torch.nonzero(moving)[:, 0].tolist():
            own = torch.nonzero(held[:, j])[:, 0]
            out[own[scores[own, j].argsort()], j] = places[own, j].sort().values
        return out


def spread_of(scores, persons, n_rows):
    """Covariances (2, p, p) of scores, in a row and across rows, of persons with several rows; None without any."""
    several = n_rows > 1
    if not several.any():
        return None
    own = several[persons]
    scores, persons = scores[own], persons[own]
    counts = n_rows[persons].double()[:, None]
    centred = scores - (scores / counts).sum(0) / several.sum()
    sums = scores.new_zeros(len(n_rows), scores.shape[1]).index_add_(0, persons, centred)[several]
    pairs = (n_rows * (n_rows - 1)).double()[several][:, None]
    within = (centred / counts).T @ centred
    across = (sums / pairs).T @ sums - (centred / (counts * (counts - 1))).T @ centred
    return torch.stack([within, across]) / several.sum()


def _triangular(before, after):
    """The lower triangular matrix that turns vectors of one covariance (p, p) into such of another."""
    return torch.linalg.solve_triangular(_root(before), _root(after), upper=False, left=False)


def _root(covariance):
    values, vectors = torch.linalg.eigh(covariance)
    return torch.linalg.cholesky((vectors * values.clamp_min(1e-4)) @ vectors.T)


def _scores(places, held, weights):
    """Normal scores (m, p) of places, by column; 0 where nothing is held."""
    return torch.stack([_normal_scores(*part, weights) for part in zip(places.T, held.T, strict=True)], 1)


def _scores_among(places, others, held):
    """Normal scores (m, p) that places would have among others."""
    out = torch.zeros_like(places)
    for j in range(places.shape[1]):
        known = others[others[:, j] < held[j], j].sort().values
        rows = torch.nonzero(places[:, j] < held[j])[:, 0]
        ranks = torch.searchsorted(known, places[rows, j]).double() + 0.5
        out[rows, j] = torch.special.ndtri((ranks / (len(known) + 1)).clamp(1e-9, 1 - 1e-9))
    return out


def _normal_scores(places, held, weights):
    out = torch.zeros_like(places)
    rows = torch.nonzero(held)[:, 0]
    order = rows[places[rows].argsort()]
    ends = weights[order].cumsum(0)
    if len(order):
        out[order] = torch.special.ndtri((ends - weights[order] / 2) / ends[-1])
    return out


def _draw(table, rows, random):
    """A column of the table (k, width) for each of the rows (m,), as often as its weights in that row say."""
    ends = table.clamp_min(0).cumsum(1)
    ends = ends / ends[:, -1:].clamp_min(1e-300)
    places = torch.rand(len(rows), generator=random, dtype=torch.float64) * (1 - 1e-9)
    ends = (ends + torch.arange(len(table), dtype=torch.float64)[:, None]).flatten()
    found = torch.searchsorted(ends, rows + places, right=True) - rows * table.shape[1]
    return found.clamp(0, table.shape[1] - 1)
