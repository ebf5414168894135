"""Several plausible data sets: the release given its noise, and draws of the model that agree with it. Public."""

import math

import torch

from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.generators.answers import within_doubts
from sinkgen.generators.field import Field
from sinkgen.generators.redrawn import Redrawn
from sinkgen.generators.reweighed import Reweighed
from sinkgen.generators.within import ranked, tilted

MOST_TILTED = 1.0  # of the logarithm of a cell's share


class Posterior:
    """Draws data sets that may have been the real one, for all that the release tells.

    What was released of a cell is the true count and noise of known size: so the true count is near the released one,
    by the same noise. Each data set is drawn for counts, and products of columns' scores, of its own: the model of a
    table without labels takes some steps towards these, and records of one with labels are weighted by them [1]_.
    Numbers find their places within bins by the same products.

    What was not released differs from one data set to the next as well, as much as the release leaves open: where
    within a bin numbers lie, and how columns that were not counted together depend on each other.

    Parameters
    ----------
    release : Release

    References
    ----------
    .. [1] Raisa, Jalko, Kaski, Honkela, "Noise-aware statistical inference with differentially private synthetic data",
       AISTATS 2023, arXiv 2205.14485.
    """

    def __init__(self, release):
        if not hasattr(release.form, "widths"):
            raise BadTypeError(
                "several plausible data sets are drawn of tables: of arrays no counts are released. Fit a data frame "
                "with a schema by column; or refit the generator on its own samples, to see what its noise does"
            )
        if getattr(release.form, "arrangement", None) is not None:
            raise BadValueError("several plausible data sets do not obey rules and keys of a schema yet: use sample")
        if not any(part.columns for part in release.counts):
            raise BadValueError(
                "the model holds no released counts, of which several data sets are drawn: it was saved with "
                "compact=True, or by a version that kept none. Load the model that was saved in full"
            )
        self._release = release
        total = next(part for part in release.counts if not part.columns)
        self.n_records = max(1, round(float(total.counts.sum())))
        kind = Redrawn if isinstance(release.generator, Field) and Redrawn.fits(release) else Reweighed
        self._model = kind(release, self.n_records)
        self._doubts = [within_doubts(release, j) for j in range(len(release.form.columns))]
        cells = [torch.tensor(column.cell_states) for column in release.form.columns]
        self._alone = [torch.bincount(of, minlength=int(of.max()) + 1) == 1 for of in cells]

    @property
    def is_vague(self):
        """Whether data sets are nearer to independent columns than the release tells, for more could not be drawn."""
        return self._model.is_vague

    def draw(self, n, random):
        """Places (n, n_columns) of the records of one data set, and their labels (n,)."""
        release, generator = self._release, self._release.generator
        codes, together = self._model.draw(n, random)
        places = []
        for j, (errors, directions) in enumerate(self._doubts):
            ranks = together.get(j)
            ranks = ranked(codes[j], torch.rand(codes.shape[1], generator=random), random) if ranks is None else ranks
            shift = errors * torch.randn(errors.shape, generator=random, dtype=torch.float64)
            own = shift[list(release.form.columns[j].cell_states)]
            tilt = (own * directions).clamp(-MOST_TILTED, MOST_TILTED)
            alone = torch.where(self._alone[j], math.sqrt(12) * shift, 0.0)  # a state of one cell
            places.append(generator.places.at_ranks(j, codes, tilted(ranks, alone[codes[j]]), tilt))
        return torch.stack(places, 1), codes[-1]
