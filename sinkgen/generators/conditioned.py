"""Conditions on columns that are made of others: what no restriction of single columns says exactly."""

import torch

from sinkgen.exceptions import BadValueError
from sinkgen.generators.product import stratified

MOST = 200  # candidates for each record that is wanted
LEAST = 20_000  # of all candidates


class Conditioned:
    """Draws records of a generator that meet conditions on columns that others make: a sum, or the end of a stay.

    The generator is held already to what the conditions leave possible of each single column; of its records those are
    kept of which the others agree. Where so few do that as many as are wanted cannot be found, that is an error.

    Parameters
    ----------
    generator : Field or ProductMixture
    form : TableFormat
    conditions : dict
    """

    def __init__(self, generator, form, conditions):
        self.generator, self.form, self.conditions = generator, form, conditions

    def draw(self, labels, random):
        """Places (m, n_columns) of records of the given classes (m,).

        Raises
        ------
        ValueError
            If too few of the generator's records meet the conditions.
        """
        drawn = self.generator.draw(labels, random)
        meets = self._meets(drawn)
        if meets is None:
            return drawn
        n_drawn, most, times = len(labels), max(LEAST, MOST * len(labels)), 2
        while not meets.all():
            missing = torch.nonzero(~meets).flatten()
            if n_drawn > most:
                raise self._too_few(n_drawn, int(meets.sum()), len(labels))
            candidates = missing.repeat(times)
            found = self.generator.draw(labels[candidates], random)
            n_drawn, times = n_drawn + len(found), min(2 * times, max(2, LEAST // len(missing)))
            good = self._meets(found)
            drawn[candidates[good]] = found[good]  # of several, one
            meets[candidates[good]] = True
        return drawn

    def draw_of_any(self, weights, n, random):
        """Places (n, n_columns) of records, and their classes (n,): those of which more meet the conditions more often.

        Parameters
        ----------
        weights : Tensor of shape (n_classes,)
            How often each is drawn.
        n : int
        random : torch.Generator

        Raises
        ------
        ValueError
            If too few of the generator's records meet the conditions.
        """
        found: list[torch.Tensor] = []
        labels: list[torch.Tensor] = []
        n_found, n_drawn, size = 0, 0, n
        while n_found < n:
            if n_drawn > max(LEAST, MOST * n):
                raise self._too_few(n_drawn, n_found, n)
            codes = stratified(weights, size, random)[torch.randperm(size, generator=random)]
            drawn = self.generator.draw(codes, random)
            meets = self._meets(drawn)
            good = torch.ones(size, dtype=torch.bool) if meets is None else meets
            found, labels = [*found, drawn[good]], [*labels, codes[good]]
            n_found, n_drawn = n_found + int(good.sum()), n_drawn + size
            size = min(max(n, LEAST), 1 + (n - n_found) * n_drawn // max(1, n_found))
        return torch.cat(found)[:n], torch.cat(labels)[:n]

    def _too_few(self, n_drawn, n_found, n_wanted):
        names = sorted(map(str, set(self.conditions) & {*self.form.arrangement.derived}))
        return BadValueError(
            f"of {n_drawn} records drawn, {n_found} meet the conditions on {', '.join(names)}, and {n_wanted} are "
            "wanted: widen the conditions, or ask for fewer records"
        )

    def _meets(self, drawn):
        found = self.form.meeting(self.form.decode(drawn), self.conditions)
        return None if found is None else torch.from_numpy(found)
