"""From files to what the estimator takes, and from a saved model to files of records."""

import json
import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sinkgen import DPSinkhornGenerator
from sinkgen._durable import replaced, room_for
from sinkgen.cli import images, tables
from sinkgen.cli.console import Refused
from sinkgen.data.column import Column
from sinkgen.data.dtypes import kind_of
from sinkgen.data.patterns import KeyColumn
from sinkgen.data.schema import Schema
from sinkgen.data.table import TableFormat
from sinkgen.data.table_columns import NumberColumn

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


NO_IDS = Schema({})  # of a table whose rows belong to nobody


class Private(NamedTuple):
    """Private records, and what is declared of them; ``observed`` says what was read off them all the same."""

    X: Any
    y: np.ndarray | None
    schema: Any
    classes: tuple | None
    layout: SampleColumns | None
    observed: tuple = ()
    groups: str | None = None


def read_private(path, schema_path, target, classes, *, shape=None, group=None, script=tables.DEFAULT):
    """Read what a fit needs.

    Parameters
    ----------
    path : Path
    schema_path : Path or None
    target : str or None
        Column of labels, of a table.
    classes : str or None
        Labels, separated by commas.
    shape : tuple or None
        Of images.
    group : str or None
        Column that says whose each row is, of a table.
    script : Script
        How a table is written.

    Raises
    ------
    Refused
        If the files or options do not fit together.
    """
    declared = None if schema_path is None else _read_schema(schema_path)
    texts = None if classes is None else [text.strip() for text in classes.split(",")]
    if tables.is_table(path):
        if declared is not None and not isinstance(declared, Schema):
            raise Refused(f"{schema_path} holds bounds of an array; a table needs a column each")
        if group is not None:
            return _private_persons(path, _kept(declared, script), target, texts, group=group, script=script)
        return _private_table(path, _kept(declared, script), target, texts, script=script)
    if script != tables.DEFAULT:
        raise Refused("--encoding, --separator, --decimal and --drop are for tables")
    if group is not None:
        raise Refused("--group is for tables; for arrays and images use Python: fit(X, y, groups=...)")
    if target is not None:
        raise Refused("--target is for tables; images have their labels in subfolders, arrays in y")
    if isinstance(declared, Schema):
        raise Refused(f"{schema_path} is the schema of a table; arrays need [low, high], or a list of these")
    X, y = images.read_arrays(path, shape=shape)
    if texts is not None and y is None:
        raise Refused("--classes was given, but there are no labels")
    observed = ("size and colour of the pictures",) if path.is_dir() and shape is None else ()
    if texts is None:
        return Private(X, y, declared, None, None, observed)
    labels = _declared_labels(texts) if path.is_dir() else _as_labels(texts, y)
    return Private(X, images.labels_as(y, labels) if path.is_dir() else y, declared, labels, None, observed)


def read_table_schema(path):
    """What is declared of a table: :class:`~sinkgen.Schema`."""
    declared = _read_schema(path)
    if not isinstance(declared, Schema):
        raise Refused(f"{path} holds bounds of an array; a table needs a column each")
    return declared


def validate(path, schema_path, script):
    """How a table fits a schema: :class:`~sinkgen.data.validation.SchemaCheck`."""
    declared = _kept(read_table_schema(schema_path), script)
    return declared.validate(tables.read_table(path, declared, script))


def _kept(schema, script):
    """A schema without the columns that are left out."""
    kept = {name: column for name, column in (schema or {}).items() if name not in script.drop}
    return Schema(kept, getattr(schema, "rules", ()))


def _private_persons(path, schema, target, texts, *, group, script):
    if group == target:
        raise Refused("--group and --target name the same column")
    # Ids are told apart as they stand in the file, whatever the schema says of them; nothing is released of them.
    ids = Schema({group: Column(kind="category", nullable=True)})
    private = _private_table(path, schema, target, texts, ids=ids, script=script)
    if group not in private.X.columns:
        raise Refused(f"--group {group!r} is no column; there are: {', '.join(map(str, private.X.columns))}")
    layout, rest = private.layout, {name: column for name, column in private.schema.items() if name != group}
    if layout is not None and list(private.X.columns).index(group) < layout.position:
        layout = layout._replace(position=layout.position - 1)
    return private._replace(schema=Schema(rest, private.schema.rules), layout=layout, groups=group)


def _private_table(path, schema, target, texts, *, ids=NO_IDS, script):
    if target is None:
        if texts is not None:
            raise Refused("--classes needs --target")
        frame = tables.read_table(path, Schema({**schema, **ids}), script)
        return Private(frame, None, schema, None, None, _observed(path, frame, schema, ids))
    labels = None if texts is None else _declared_labels(texts)
    declared = {**schema, target: tables.target_column(target, schema, labels)}
    frame = tables.read_table(path, {**declared, **ids}, script)
    if target not in frame.columns:
        raise Refused(f"--target {target!r} is no column; there are: {', '.join(map(str, frame.columns))}")
    observed = _observed(path, frame, declared, ids)
    if kind_of(frame.dtypes[target], Column()) != "category" and texts is not None:
        labels = _as_labels(texts, np.empty(0, frame.dtypes[target].name.lower().replace("boolean", "bool")))
    labels = labels if labels is not None else declared[target].values
    X, y = tables.split_target(frame, target, labels)
    rest = {name: column for name, column in schema.items() if name != target}
    rules = [rule.renamed({target: "y"}) for rule in schema.rules]  # as fit calls labels that have no column
    return Private(
        X, y, Schema(rest, rules), labels, SampleColumns(target, list(frame.columns).index(target)), observed
    )


def _observed(path, frame, schema, ids=NO_IDS):
    """What was read off the cells; an error where the schema names columns that the table lacks."""
    unknown = [name for name in schema if name not in frame.columns]
    if unknown:
        raise Refused(f"the schema names columns that {path} lacks: {', '.join(map(str, unknown))}")
    names = tables.observed_kinds(path, frame.columns, {**schema, **ids})
    return (f"the kinds of the columns {', '.join(map(str, names))}",) if names else ()


def _read_schema(path):
    """A :class:`Schema`, or bounds of an array."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Refused(f"{path} is not JSON: {error}") from None
    if not isinstance(content, list):
        return Schema.from_content(content)
    return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in content)


def _as_labels(texts, y):
    """Labels from the command line, of the kind of those in y."""
    texts = [text.strip() for text in texts]
    if np.asarray(y).dtype.kind in "OUS":
        return tuple(texts)
    try:
        return tuple(_as_number(text) for text in texts)
    except ValueError:
        raise Refused("the labels of these records are numbers") from None


def _declared_labels(texts):
    """Labels that stand in a text file: whole numbers if all that are declared are, else texts."""
    are_numbers = all(text.lstrip("-").isdecimal() and text == str(int(text)) for text in texts)
    return tuple(map(int, texts)) if are_numbers else tuple(texts)


def _as_number(text):
    return int(text) if text.lstrip("+-").isdecimal() else float(text)


# --- Models ----------------------------------------------------------------------------------------------------------


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
        y = np.resize(np.array(_as_labels(labels, model.estimator.classes_)), n)
    drawn = model.estimator.sample(n, y=y, conditions=wanted or None, random_state=seed)
    X, y = drawn if isinstance(drawn, tuple) else (drawn, None)
    if target is not None:
        X.insert(model.layout.position, target, y)
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
        ends = [float(end) if _is_number(end) else np.datetime64(end).item().isoformat() for end in text.split("..")]
    except ValueError:
        ends = []
    if len(ends) not in (1, 2):
        raise Refused(f"--where {name}= must be a number or date, or two of them: low..high")
    return ends[0] if len(ends) == 1 else tuple(ends)


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


# --- Real records, beside a model's ----------------------------------------------------------------------------------

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
