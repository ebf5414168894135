"""The statement of what was spent: of a model, or of a ledger."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sinkgen.cli.console import Refused

EXAMPLES = (
    "sinkgen privacy model",
    "sinkgen privacy model --json",
    "sinkgen privacy model --for-board > statement.md",
    "sinkgen privacy spent.jsonl",
)


def privacy(
    path: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a model, or file of a ledger.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    for_board: Annotated[
        bool,
        typer.Option("--for-board", help="In plain words for a review board, as Markdown with blanks."),
    ] = False,
    delta: Annotated[float, typer.Option("--delta", help="Of the total of a ledger.")] = 1e-5,
) -> None:
    """Say what was spent: the statement of a model, or the total of a ledger. It may be shown to anyone."""
    from sinkgen import PrivacyLedger, board_text
    from sinkgen.cli.model import load

    if as_json and for_board:
        raise Refused("--json and --for-board are two forms of the statement: give one of them")
    spent = PrivacyLedger(path).total(delta) if path.is_file() else load(path).estimator.privacy_spent()
    if for_board:
        typer.echo(board_text(spent), nl=False)
    else:
        typer.echo(json.dumps(spent.to_dict(), indent=1) if as_json else str(spent))
