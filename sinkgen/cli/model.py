"""A model on the disk: the estimator's folder, and beside it where the target stood among a table's columns."""

import json
import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from sinkgen import DPSinkhornGenerator
from sinkgen._durable import replaced, room_for
from sinkgen.cli.console import Refused
from sinkgen.data.table import TableFormat

LAYOUT = "table.json"  # beside the model: where the target stood among the columns


class SampleColumns(NamedTuple):
    """Where a table has its labels; public.

    Attributes
    ----------
    target : str
    position : int
        Among the columns.
    """

    target: str
    position: int


class Model(NamedTuple):
    """A saved model, and the layout of its table if it is of one with a target."""

    estimator: DPSinkhornGenerator
    layout: SampleColumns | None

    @property
    def form(self):
        """Public facts of its records."""
        return self.estimator.release_.form

    @property
    def is_table(self):
        """Whether it draws tables."""
        return isinstance(self.form, TableFormat)


MOST_BYTES = 2**25  # of a model; those of the examples have 2^20, the largest network has 2^24


def save(estimator, layout, folder):
    """Write a model, and beside it a layout if there is one.

    Parameters
    ----------
    estimator : DPSinkhornGenerator
    layout : SampleColumns or None
    folder : Path
    """
    path = folder / LAYOUT
    if layout is None:
        estimator.save(folder)
        path.unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(path) as aside:  # written before the model, which takes its place first
        aside.write_text(json.dumps(layout._asdict()))
        estimator.save(folder)


@contextmanager
def room_for_model(folder):
    """Context in which there is room for a model in ``folder``; Refused if there is not."""
    with ExitStack() as room:
        try:
            room.enter_context(room_for(folder, MOST_BYTES))
        except OSError as error:
            message = f"{folder}: {_reason(error)}; {MOST_BYTES >> 20} MiB must be free there. Nothing was spent"
            raise Refused(message) from error
        yield


def save_or_rescue(estimator, layout, folder, checkpoint):
    """Write a model; where that fails, into a new temporary folder unless a checkpoint holds it.

    Parameters
    ----------
    estimator, layout, folder
        As for :func:`save`.
    checkpoint : Path or None

    Raises
    ------
    Refused
        If it could not be written to ``folder``; the message says where it is.
    """
    try:
        save(estimator, layout, folder)
    except OSError as error:
        told = f"{folder}: {_reason(error)}. The budget is spent: epsilon {estimator.privacy_spent().epsilon:.4g}. "
        if checkpoint is not None:
            told += f"{checkpoint} holds all that was released: make room, or name another folder by -o, and run this "
            told += "again; it goes on from there and is not charged again"
        else:
            told += _rescue(estimator, layout)
        raise Refused(told) from error


def _rescue(estimator, layout):
    try:
        folder = Path(tempfile.mkdtemp(prefix="sinkgen-model-"))
        save(estimator, layout, folder)
    except OSError as error:
        return f"No other folder could be written either ({_reason(error)}): it is lost. Next time give --checkpoint"
    return (
        f"The model was written to {folder} instead: move it from there. --checkpoint FOLDER keeps what a fit releases"
    )


def _reason(error):
    return os.strerror(error.errno) if error.errno else type(error).__name__


def load(folder):
    """Read a model.

    Raises
    ------
    Refused, ValueError
        If there is none, or it is damaged.
    """
    if not (folder / "model.json").is_file():
        raise Refused(f"{folder} holds no model: sinkgen fit writes one")
    estimator = DPSinkhornGenerator.load(folder)
    path = folder / LAYOUT
    try:
        layout = SampleColumns(**json.loads(path.read_text())) if path.exists() else None
    except (TypeError, ValueError):
        raise Refused(f"{path} is damaged") from None
    return Model(estimator, layout)
