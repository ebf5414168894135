"""How a table's cells fit what is declared."""

from pathlib import Path
from typing import Annotated

import typer

from sinkgen.cli.console import Refused
from sinkgen.cli.options import TABLE, Decimal, Drop, Encoding, Separator, check_table_path

EXAMPLES = ("sinkgen validate data.csv --schema schema.json",)


def validate(
    data: Annotated[Path, typer.Argument(metavar="DATA", help=TABLE)],
    schema: Annotated[Path, typer.Option("--schema", metavar="FILE", help="What is declared.")],
    *,
    encoding: Encoding = None,
    separator: Separator = None,
    decimal: Decimal = ".",
    drop: Drop = None,
) -> None:
    """Tell which cells of a table do not fit a schema: missing, out of bounds, of no declared category.

    It looks at the records without any privacy, and is for those who may see them. A fit knows nothing of it. The exit
    code is 0 if all fits, and 1 if not.
    """
    from sinkgen.cli import tables
    from sinkgen.cli.private import fit_of_table

    check_table_path(data)
    check = fit_of_table(data, schema, tables.script_of(encoding, separator, decimal, drop))
    typer.echo(str(check))
    if not check.fits:
        raise Refused(f"{data} does not fit {schema}")
