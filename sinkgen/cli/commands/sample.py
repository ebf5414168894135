"""Synthetic records of a model, into a file."""

from pathlib import Path
from typing import Annotated

import typer

from sinkgen.cli.options import Force, ModelArgument, Seed, check_output

EXAMPLES = (
    "sinkgen sample model -n 1000 -o synth.csv",
    "sinkgen sample model -n 100 --where sex=Female --where age=30..40 -o synth.parquet",
    "sinkgen sample model -n 100 --label 3 --label 7 -o synth.npz",
    "sinkgen sample model --groups 1000 -o visits.csv",
    "sinkgen sample model -n 20 -o folder-of-pngs",
)


def sample(
    model: ModelArgument,
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="How many records.")] = 100,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="Tables: .csv, .tsv, .parquet, or CSV on stdout by default. Arrays and images: .npz. Images: a folder "
            "of PNGs.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Records of this label only; again for more, evenly.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="COLUMN=VALUE",
            help="Records that meet this: a category (again for more of the column), a number, low..high, or nothing "
            "for a missing cell.",
        ),
    ] = None,
    groups: Annotated[
        int | None,
        typer.Option(
            "--groups",
            min=1,
            metavar="N",
            help="So many persons, each with all rows, in place of -n; of a model that was fitted with --whole-groups.",
        ),
    ] = None,
    seed: Seed = None,
    force: Force = False,
) -> None:
    """Draw synthetic records. It costs nothing, as often as you like."""
    from sinkgen.cli import draws
    from sinkgen.cli.console import Refused
    from sinkgen.cli.model import load

    if groups is not None and (label or where):
        raise Refused("--groups draws persons as they come: leave --label and --where out")
    loaded = load(model)
    draws.check_output(loaded, output)
    if output is not None:
        check_output(output, force)
    drawn = draws.draw_groups(loaded, groups, seed) if groups else draws.draw(loaded, n, label or (), where or (), seed)
    draws.write(loaded, drawn, output)
