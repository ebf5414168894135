"""A page that shows real records beside synthetic ones."""

from pathlib import Path
from typing import Annotated

import typer

from sinkgen._durable import replaced
from sinkgen.cli.console import say
from sinkgen.cli.options import Decimal, Drop, Encoding, Force, ModelArgument, Seed, Separator, check_output

EXAMPLES = (
    "sinkgen report model --real data.csv -o report.html",
    "sinkgen report model --real data.csv --test unseen.csv -o report.html",
    "sinkgen report model --real mnist.npz --test mnist.npz -o report.html     (X_train, then X_test)",
)


def report(
    model: ModelArgument,
    real: Annotated[Path, typer.Option("--real", metavar="DATA", help="The records that the model was fitted to.")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The page.")],
    test: Annotated[
        Path | None, typer.Option("--test", metavar="DATA", help="Real records that it was not fitted to.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="COLUMN", help="What to predict; by default the model's target."),
    ] = None,
    most: Annotated[int | None, typer.Option("--records", min=10, help="Look at no more of each kind.")] = None,
    encoding: Encoding = None,
    separator: Separator = None,
    decimal: Decimal = ".",
    drop: Drop = None,
    seed: Seed = None,
    force: Force = False,
) -> None:
    """Write a page that compares real records with synthetic ones: one file, to be opened in a browser.

    The page shows real records without noise. It is for those who may see them, and no privacy statement covers it.
    """
    from sinkgen import html_report
    from sinkgen.cli import tables
    from sinkgen.cli.comparison import compare
    from sinkgen.cli.model import load

    check_output(output, force)
    loaded = load(model)
    script = tables.script_of(encoding, separator, decimal, drop)
    parts = compare(loaded, real, test, target, most=most, seed=seed, script=script)
    page = html_report(
        parts.real, parts.synthetic, test=parts.test, spent=loaded.estimator.privacy_spent(),
        title=f"Synthetic data of {model.name}", most_records=most, random_state=seed,
    )  # fmt: skip
    with replaced(output) as aside:
        aside.write_text(page, encoding="utf-8")
    say(f"{output} shows real records: it is for those who may see them.")
