"""From a model to files of synthetic records: which are wanted, and where they are written."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sinkgen.cli import images, tables
from sinkgen.cli.console import Refused
from sinkgen.cli.labels import as_labels
from sinkgen.data.table_columns import NumberColumn


class Drawn(NamedTuple):
    """Synthetic records; y is None where there are no labels, or they are a column of X."""

    X: Any
    y: np.ndarray | None


def draw(model, n, labels, conditions, seed):
    """Draw records, as the command line asks for them.

    Parameters
    ----------
    model : Model
    n : int
    labels : sequence of str
        Wanted, each as often as the others.
    conditions : sequence of str
        ``column=value`` each.
    seed : int or None
    """
    target = model.layout.target if model.layout else None
    conditions = [_pair(condition) for condition in conditions]
    labels = [*labels, *(value for name, value in conditions if name == target)]
    wanted = _conditions(model, [pair for pair in conditions if pair[0] != target])
    y = None
    if labels:
        if model.estimator.release_.labels is None:
            raise Refused("the model has no labels")
        y = np.resize(np.array(as_labels(labels, model.estimator.classes_)), n)
    return _laid_out(model, model.estimator.sample(n, y=y, conditions=wanted or None, random_state=seed))


def draw_groups(model, n, seed):
    """Draw ``n`` groups, each with all its rows and an id of its own."""
    return _laid_out(model, model.estimator.sample(n_groups=n, random_state=seed))


def _laid_out(model, drawn):
    X, y = drawn if isinstance(drawn, tuple) else (drawn, None)
    if model.layout and model.layout.target is not None:
        names = list(X.columns)
        ids = [of for of in names if of not in model.form.names]  # of groups, whose column was no feature
        before = sum(names.index(of) <= model.layout.position for of in ids)
        X.insert(model.layout.position + before, model.layout.target, y)
        y = None
    return Drawn(X, y)


def _pair(condition):
    name, equals, value = condition.partition("=")
    if not equals:
        raise Refused("--where must read like COLUMN=VALUE")
    return name, value


def _conditions(model, pairs):
    if not pairs:
        return {}
    if not model.is_table:
        raise Refused("--where is for tables; --label picks labels")
    columns = {str(column.name): column for column in model.form.own_columns}
    wanted = {}
    for name, text in pairs:
        if name not in columns:
            raise Refused(f"--where names a column that the table lacks; it has: {', '.join(columns)}")
        column = columns[name]
        if isinstance(column, NumberColumn):
            wanted[column.name] = _range(name, text)
        elif not text:
            wanted[column.name] = None
        else:
            wanted.setdefault(column.name, []).append(_member(column, text))
    return wanted


def _range(name, text):
    if not text:
        return None
    try:
        ends = [_end(end) for end in text.split("..")]
    except ValueError:
        ends = []
    if len(ends) not in (1, 2) or not any(end is not None for end in ends):
        raise Refused(f"--where {name}= must be a number or date, or a range of them: low..high, low.., ..high")
    return ends[0] if len(ends) == 1 else tuple(ends)


def _end(text):
    """A number, a date, or nothing of an open end."""
    if not text:
        return None
    return float(text) if _is_number(text) else np.datetime64(text).item().isoformat()


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _member(column, text):
    values = {str(value): value for value in getattr(column, "values", None) or ()}
    return values.get(text, values.get(text.capitalize(), text))


def check_output(model, output):
    """Refuse, before any work, what cannot be written."""
    if model.is_table:
        if output is not None and not tables.is_table(output):
            raise Refused(f"the model draws tables: {output} must end in {', '.join(tables.SUFFIXES)}")
    elif output is None:
        raise Refused("the model draws arrays: -o must name an .npz or, for images, a folder")
    elif output.suffix.lower() != ".npz" and (output.suffix or len(model.form.network_shape) < 2):
        raise Refused(f"{output} must be an .npz or, for images, a folder")


def write(model, drawn, output):
    """Write records to a file or folder; a table without one to stdout."""
    if not model.is_table:
        images.write_arrays(output, drawn.X, drawn.y, model.form)
        return
    frame = drawn.X if drawn.y is None else drawn.X.assign(label=drawn.y)
    if output is None:
        import typer

        typer.echo(frame.to_csv(index=False), nl=False)
    else:
        tables.write_table(frame, output)


def example_output(data):
    """A name for drawn records of the kind of ``data``."""
    if tables.is_table(data):
        return "synth" + tables.suffix_of(data)
    return "synth.npz" if Path(data).suffix else "synth"
