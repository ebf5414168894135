"""What several commands have: options, and checks of the paths that they are given."""

from pathlib import Path
from typing import Annotated

import typer

from sinkgen.cli.console import Refused

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that sinkgen fit wrote.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Repeats public draws. Privacy's own noise stays fresh, whatever the seed."),
]

TABLE = "A table: .csv, .tsv, either with .gz, .parquet, or a folder of Parquet files."
# How tables in files are written.
Encoding = Annotated[str | None, typer.Option("--encoding", help="Of a table of text, such as cp1252; else utf-8.")]
Separator = Annotated[
    str | None, typer.Option("--separator", help="Of fields: one character, or tab; else , ; | or tab, by the header.")
]
Decimal = Annotated[str, typer.Option("--decimal", help="Mark before the decimals of numbers: . or ,")]
Drop = Annotated[list[str] | None, typer.Option("--drop", metavar="COLUMN", help="Leave a column out; again for more.")]


def check_table_path(path):
    """Refuse a file of another kind than those of tables."""
    from sinkgen.cli import tables

    if not tables.is_table(path):
        raise Refused(f"{path} is no table: its name must end in {', '.join(tables.SUFFIXES)}")


def check_output(path, force):
    """Refuse what cannot be written before anything is made: its folder is not there, or it is and may be kept."""
    if not path.absolute().parent.is_dir():
        raise Refused(f"{path}: there is no folder {path.parent}")
    check_free(path, force)


def check_free(path, force):
    """Whatever is written, nothing is overwritten unasked."""
    if path.is_dir():
        if any(path.iterdir()):
            raise Refused(f"{path} holds files already: give a new folder")
    elif path.exists() and not force:
        raise Refused(f"{path} exists: --force overwrites it")
