"""From files of private records to what a fit takes."""

import json
from typing import Any, NamedTuple

import numpy as np

from sinkgen.cli import images, tables
from sinkgen.cli.console import Refused
from sinkgen.cli.labels import as_labels, declared_labels
from sinkgen.cli.model import SampleColumns
from sinkgen.data.column import Column
from sinkgen.data.dtypes import kind_of
from sinkgen.data.layout import name_of_labels
from sinkgen.data.schema import Schema

NO_WRITTEN_NUMBERS = "that no text is nearly all numbers or dates"  # or the command would have refused the table
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
    labels = declared_labels(texts) if path.is_dir() else as_labels(texts, y)
    return Private(X, images.labels_as(y, labels) if path.is_dir() else y, declared, labels, None, observed)


def read_table_schema(path):
    """What is declared of a table: :class:`~sinkgen.Schema`."""
    declared = _read_schema(path)
    if not isinstance(declared, Schema):
        raise Refused(f"{path} holds bounds of an array; a table needs a column each")
    return declared


def fit_of_table(path, schema_path, script):
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
        return Private(frame, None, schema, None, None, _observed(path, frame, schema, script, ids))
    labels = None if texts is None else declared_labels(texts)
    declared = {**schema, target: tables.target_column(target, schema, labels)}
    frame = tables.read_table(path, {**declared, **ids}, script)
    if target not in frame.columns:
        raise Refused(f"--target {target!r} is no column; there are: {', '.join(map(str, frame.columns))}")
    observed = _observed(path, frame, declared, script, ids)
    if kind_of(frame.dtypes[target], Column()) != "category" and texts is not None:
        labels = as_labels(texts, np.empty(0, frame.dtypes[target].name.lower().replace("boolean", "bool")))
    labels = labels if labels is not None else declared[target].values
    X, y = tables.split_target(frame, target, labels)
    rest = {name: column for name, column in schema.items() if name != target}
    rules = [rule.renamed({target: name_of_labels(X.columns)}) for rule in schema.rules]
    return Private(
        X, y, Schema(rest, rules), labels, SampleColumns(target, list(frame.columns).index(target)), observed
    )


def _observed(path, frame, schema, script, ids=NO_IDS):
    """What was read off the cells; an error where the schema names columns that the table lacks."""
    unknown = [name for name in schema if name not in frame.columns]
    if unknown:
        raise Refused(f"the schema names columns that {path} lacks: {', '.join(map(str, unknown))}")
    names = tables.observed_kinds(path, frame.columns, {**schema, **ids})
    for name in names:
        told = tables.told_of_text(frame[name], script.decimal)
        if told:
            raise Refused(told)
    return (f"the kinds of the columns {', '.join(map(str, names))}", NO_WRITTEN_NUMBERS) if names else ()


def _read_schema(path):
    """A :class:`Schema`, or bounds of an array."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Refused(f"{path} is not JSON: {error}") from None
    if not isinstance(content, list):
        return Schema.from_content(content)
    return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in content)
