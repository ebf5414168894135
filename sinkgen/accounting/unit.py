"""Whom a statement protects."""

from dataclasses import dataclass

RECORDS = "add or remove one record"
PERSONS = "add or remove one person with all rows"
RELATIONS = (RECORDS, PERSONS)
AUTO = "auto"
MOST_ROWS = 8  # of a person that a release may choose


@dataclass(frozen=True)
class Unit:
    """What one of two neighbouring data sets has more than the other, and how much of it counts.

    Parameters
    ----------
    neighbours : str
        The neighbouring relation, in words.
    max_rows : int
        As how many rows a person counts at most, all of that person's together.
    shared : bool
        Whether all rows of a person take part, each with an equal share; else at most ``max_rows`` of them do.

    Examples
    --------
    >>> Unit.of_groups(None)
    Unit(neighbours='add or remove one person with all rows', max_rows=1, shared=True)
    """

    neighbours: str = RECORDS
    max_rows: int = 1
    shared: bool = False

    @classmethod
    def of_groups(cls, max_rows):
        """The unit of data whose rows belong to persons: at most so many rows of each, or for None shares of one.

        With "auto", which leaves that to a release, the most that this may choose.
        """
        if max_rows == AUTO:
            return cls(PERSONS, MOST_ROWS)
        return cls(PERSONS, 1 if max_rows is None else max_rows, max_rows is None)

    @property
    def is_person(self):
        """Whether it is a person, and not a record."""
        return self.neighbours == PERSONS


RECORD = Unit()
