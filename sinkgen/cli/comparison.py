"""Real records beside a model's: of the same columns, or of the same shape."""

from typing import NamedTuple

from sinkgen.cli import images, tables
from sinkgen.cli.console import Refused
from sinkgen.cli.draws import draw
from sinkgen.data.column import Column
from sinkgen.data.patterns import KeyColumn

MOST_DRAWN = 20_000


class Compared(NamedTuple):
    """Real and synthetic records of the same columns, as (X, y) each; y is None without labels or target."""

    real: tuple
    synthetic: tuple
    test: tuple | None


def compare(model, real, test, target, *, most, seed, script):
    """Read real records of the kinds that a model draws, and draw as many.

    Parameters
    ----------
    model : Model
    real, test : Path
        test may be None.
    target : str or None
        Column to be predicted; by default that of the model.
    most : int or None
        Draw no more; None is 20,000.
    seed : int or None
    script : Script
        How the files are written.

    Returns
    -------
    Compared

    Raises
    ------
    Refused
        If a file has other columns or another shape.
    """
    if target is None and model.layout is not None:
        target = model.layout.target
    part = _read_real(model, real, target, script)
    held_out = None if test is None else _read_real(model, test, target, script, test=True)
    X, y = draw(model, min(len(part[0]), most or MOST_DRAWN), (), (), seed)
    if model.is_table:
        X, y = _split(X, target)
    else:
        X, y = X.reshape(len(X), *model.form.network_shape), None if part[1] is None else y
    return Compared(part, (X, y), held_out)


def _read_real(model, path, target, script, *, test=False):
    if model.is_table:
        if not tables.is_table(path):
            raise Refused(f"the model is of a table: {path} must end in {', '.join(tables.SUFFIXES)}")
        frame = tables.read_table(path, _kinds(model), script)
        names = _columns(model)
        lacking = [str(name) for name in names if name not in frame.columns]
        if lacking:
            raise Refused(f"{path} lacks columns of the model: {', '.join(lacking)}")
        return _split(frame[names], target)
    if target is not None:
        raise Refused("--target is for tables")
    X, y = images.read_arrays(path, test=test, shape=model.form.network_shape)
    if path.is_dir() and y is not None and model.estimator.release_.labels is not None:
        y = images.labels_as(y, model.estimator.classes_.tolist())
    if X.shape[1:] not in (model.form.record_shape, model.form.network_shape):
        raise Refused(f"{path} holds records of another shape than the model's")
    return X.reshape(len(X), *model.form.network_shape), None if model.estimator.release_.labels is None else y


def _columns(model):
    names = list(model.form.names)
    if model.layout:
        names.insert(model.layout.position, model.layout.target)
    return names


def _kinds(model):
    """How cells of text are to be read: as what the model has made of them."""
    kinds = {}
    for column in model.form.own_columns:
        if isinstance(column, KeyColumn):
            kinds[column.name] = Column("category", nullable=True)
            continue
        values = None if column.kind == "boolean" else getattr(column, "values", None)
        form, decimal = getattr(column, "format", None), getattr(column, "decimal", None)
        kinds[column.name] = Column(column.kind, values=values or None, nullable=True, format=form, decimal=decimal)
    if model.layout:
        kinds[model.layout.target] = Column(values=model.estimator.classes_.tolist())
    return kinds


def _split(frame, target):
    if target is None:
        return frame, None
    if target not in frame.columns:
        raise Refused(f"--target {target!r} is no column; there are: {', '.join(map(str, frame.columns))}")
    if frame[target].isna().any():
        raise Refused(f"--target {target!r} has missing cells")
    return frame.drop(columns=target), frame[target]
