"""The command line: its commands, in the order of its help."""

from typing import Annotated

import typer

from sinkgen.cli.commands import audit, fit, plan, privacy, report, sample, schema, validate
from sinkgen.cli.console import OneLineErrors

app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Differentially private synthetic data: fit once, which spends the privacy budget; sample as often as you "
    "like.",
)


def _examples(lines):
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"  {line}" for line in lines)


app.command(epilog=_examples(schema.EXAMPLES))(schema.schema)
app.command(epilog=_examples(validate.EXAMPLES))(validate.validate)
app.command(epilog=_examples(fit.EXAMPLES))(fit.fit)
app.command(epilog=_examples(sample.EXAMPLES))(sample.sample)
app.command(epilog=_examples(report.EXAMPLES))(report.report)
app.command(epilog=_examples(privacy.EXAMPLES))(privacy.privacy)
app.command(epilog=_examples(plan.EXAMPLES))(plan.plan)
app.command(epilog=_examples(audit.EXAMPLES))(audit.audit)


def _version(wanted):
    if wanted:
        from sinkgen import __version__

        typer.echo(f"sinkgen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it.")] = False,
) -> None:
    pass
