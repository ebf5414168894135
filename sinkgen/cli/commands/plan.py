"""What a fit would give, from public facts alone."""

from pathlib import Path
from typing import Annotated

import typer

from sinkgen.cli.console import Refused

EXAMPLES = (
    "sinkgen plan schema.json --rows 3000 --epsilon 0.3 --epsilon 1",
    "sinkgen plan schema.json --rows 3000 --target income --error 0.02",
)


def plan(
    schema: Annotated[Path, typer.Argument(metavar="SCHEMA", help="What is public of a table, as JSON.")],
    rows: Annotated[int, typer.Option("--rows", "-n", help="About how many records there are.")],
    epsilon: Annotated[list[float] | None, typer.Option("--epsilon", help="Budget; may be repeated.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Column of the labels, with declared values.")] = None,
    delta: Annotated[float, typer.Option("--delta", help="Probability with which the bound may fail.")] = 1e-5,
    error: Annotated[float | None, typer.Option("--error", help="A distance that is wanted: at which epsilon?")] = None,
) -> None:
    """Say what a fit would give: noise, what stands out of it, time. Spends nothing, and sees no record."""
    import sinkgen
    from sinkgen.cli.private import read_table_schema

    declared = read_table_schema(schema)
    classes = None
    if target is not None:
        if target not in declared or declared[target].values is None:
            raise Refused(f"--target must be a column of which {schema} declares the values")
        classes = declared[target].values
        declared = sinkgen.Schema({name: column for name, column in declared.items() if name != target})
    typer.echo(str(sinkgen.plan(declared, rows, epsilon or (0.3, 1.0, 3.0), delta=delta, classes=classes, error=error)))
