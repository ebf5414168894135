"""A draft of what is declared of a table, read off its cells: to be edited."""

from pathlib import Path
from typing import Annotated

import typer

from sinkgen._durable import replaced
from sinkgen.cli.console import say
from sinkgen.cli.options import TABLE, Decimal, Drop, Encoding, Force, Separator, check_output, check_table_path

EXAMPLES = (
    "sinkgen schema data.csv > schema.json",
    "sinkgen schema data.parquet -o schema.json",
)


def schema(
    data: Annotated[Path, typer.Argument(metavar="DATA", help=TABLE)],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; by default stdout.")] = None,
    *,
    encoding: Encoding = None,
    separator: Separator = None,
    decimal: Decimal = ".",
    drop: Drop = None,
    force: Force = False,
) -> None:
    """Draft a schema to edit: each column's kind, its bounds or categories, whether cells may be missing.

    All of it is read off the table, without any privacy, and a fit takes it as public. Edit it to what is known
    without looking at the records.
    """
    from sinkgen.cli import tables

    check_table_path(data)
    if output is not None:
        check_output(output, force)
    script = tables.script_of(encoding, separator, decimal, drop)
    frame = tables.read_table(data, script=script)
    draft = tables.draft_schema(frame)
    text = tables.to_json(draft)
    if output is None:
        typer.echo(text)
    else:
        with replaced(output) as aside:
            aside.write_text(text + "\n")
    _tell_what_was_read(draft)
    for name in tables.observed_kinds(data, frame.columns, {}):
        told = tables.told_of_text(frame[name], script.decimal)
        if told:
            say(f"LOOK: {told}")


def _tell_what_was_read(draft):
    bounds = [name for name, column in draft.items() if "bounds" in column]
    values = [name for name, column in draft.items() if "values" in column]
    unlisted = [name for name, column in draft.items() if column["kind"] == "category" and "values" not in column]
    say("Read off the table without privacy, and taken as public by a fit with this schema:")
    say("  the names and kinds of all columns, and whether cells are missing")
    for what, names in (
        ("smallest and largest number, rounded outwards, of", bounds),
        ("every category that occurs, in", values),
    ):
        if names:
            say(f"  {what}: {', '.join(names)}")
    if unlisted:
        say(f"Not listed, too many categories (a fit learns the frequent ones privately): {', '.join(unlisted)}")
    say("Edit what is not public knowledge: bounds and categories that hold for anybody, not just for these records.")
    say("Remove a column's bounds or values to have them learned privately, on the fit's budget.")
