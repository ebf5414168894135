"""A lower bound of epsilon, by many fits with and without one record."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = (
    "sinkgen audit data.csv --schema schema.json --target income --epsilon 10",
    "sinkgen audit images.npz --epsilon 10 --fits 200",
)


def audit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="What the fit would be of; its format alone counts.")],
    *,
    epsilon: Annotated[float, typer.Option("--epsilon", help="Privacy budget that is claimed.")],
    schema: Annotated[Path | None, typer.Option("--schema", metavar="FILE", help="What is public.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Column of the labels.")] = None,
    classes: Annotated[str | None, typer.Option("--classes", help="The labels, if public: a,b,c.")] = None,
    delta: Annotated[float, typer.Option("--delta", help="Probability with which the bound may fail.")] = 1e-5,
    fits: Annotated[int, typer.Option("--fits", help="With a record, and as many without it.")] = 500,
    given: Annotated[bool, typer.Option("--given", help="Of these records: a look at them, and slower.")] = False,
) -> None:
    """Fit with and without one record, many times, and bound epsilon from below by how well the fits are told apart.

    Records are made up at the ends of what is declared, and none of yours is looked at. Exits with 1 if more is seen to
    be spent than is claimed.
    """
    import sinkgen
    from sinkgen.cli.private import read_private

    private = read_private(data, schema, target, classes)
    gen = sinkgen.DPSinkhornGenerator(epsilon, delta, schema=private.schema, classes=private.classes)
    found = sinkgen.audit(gen, private.X, private.y, data="given" if given else "made-up", fits=fits)
    typer.echo(str(found))
    if not found.holds:
        raise typer.Exit(1)
