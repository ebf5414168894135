"""Labels as they stand on the command line: of the kind of those in the records."""

import numpy as np

from sinkgen.cli.console import Refused


def as_labels(texts, y):
    """Labels from the command line, of the kind of those in y."""
    texts = [text.strip() for text in texts]
    if np.asarray(y).dtype.kind in "OUS":
        return tuple(texts)
    try:
        return tuple(_as_number(text) for text in texts)
    except ValueError:
        raise Refused("the labels of these records are numbers") from None


def declared_labels(texts):
    """Labels that stand in a text file: whole numbers if all that are declared are, else texts."""
    are_numbers = all(text.lstrip("-").isdecimal() and text == str(int(text)) for text in texts)
    return tuple(map(int, texts)) if are_numbers else tuple(texts)


def _as_number(text):
    return int(text) if text.lstrip("+-").isdecimal() else float(text)
