"""The commands. Heavy imports wait until a command runs."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sinkgen._durable import replaced
from sinkgen.cli.console import OneLineErrors, Refused, progress_bar, say

app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Differentially private synthetic data: fit once, which spends the privacy budget; sample as often as you "
    "like.",
)


def _examples(*lines):
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"  {line}" for line in lines)


class Mechanism(str, Enum):
    """What spends the budget."""

    auto = "auto"
    semidual = "semidual"
    batch = "batch"
    marginals = "marginals"


class Metadata(str, Enum):
    """What becomes of facts that are not declared."""

    learn = "learn"
    trust = "trust"
    require = "require"


class Generator(str, Enum):
    """What draws the records."""

    auto = "auto"
    particles = "particles"
    mlp = "mlp"
    conv = "conv"
    dcgan = "dcgan"
    biggan = "biggan"


# Options that several commands have.
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


# --- schema ----------------------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "sinkgen schema data.csv > schema.json", "sinkgen schema data.parquet -o schema.json"
    )
)  # fmt: skip
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

    _check_table_path(data)
    if output is not None:
        _check_free(output, force)
    draft = tables.draft_schema(tables.read_table(data, script=tables.script_of(encoding, separator, decimal, drop)))
    text = tables.to_json(draft)
    if output is None:
        typer.echo(text)
    else:
        with replaced(output) as aside:
            aside.write_text(text + "\n")
    _tell_what_was_read(draft)


@app.command(epilog=_examples("sinkgen validate data.csv --schema schema.json"))
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
    from sinkgen.cli import model as models
    from sinkgen.cli import tables

    _check_table_path(data)
    check = models.validate(data, schema, tables.script_of(encoding, separator, decimal, drop))
    typer.echo(str(check))
    if not check.fits:
        raise Refused(f"{data} does not fit {schema}")


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


# --- fit -------------------------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "sinkgen fit data.csv --schema schema.json --epsilon 1 --target income -o model",
        "sinkgen fit photos/ --epsilon 10 --classes cat,dog -o model        (photos/cat/*.png, photos/dog/*.png)",
        "sinkgen fit mnist.npz --epsilon 10 --classes 0,1,2,3,4,5,6,7,8,9 -o model",
        "sinkgen fit data.csv --epsilon 1 --ledger spent.jsonl --budget 3 -o model",
        "sinkgen fit visits.csv --epsilon 1 --group patient -o model        (a patient has several rows)",
    )
)
def fit(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A table (.csv, .tsv, .parquet, a folder of Parquet files), arrays (.npz with X and perhaps y), or a "
            "folder of PNGs, in subfolders by label if they have labels.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="MODEL", help="Folder to write the model to.")],
    *,
    epsilon: Annotated[
        float, typer.Option("--epsilon", help="Privacy budget; the smaller the safer. inf: no privacy at all.")
    ],
    delta: Annotated[float, typer.Option("--delta", help="Well below one over the number of records.")] = 1e-5,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="Public facts, as sinkgen schema drafts them.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COLUMN", help="Column of labels, that models are to predict.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="Public set of labels, by commas, where no schema declares it.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="COLUMN", help="Whose each row is: persons are protected then, not rows."),
    ] = None,
    max_rows: Annotated[
        str | None,
        typer.Option(
            "--max-rows",
            metavar="N|auto",
            help="With --group: rows of a person that count; else all, in shares of 1. auto: as a release says.",
        ),
    ] = None,
    image_shape: Annotated[
        str | None, typer.Option("--image-shape", metavar="HxW", help="Of images that are rows of an array: 28x28.")
    ] = None,
    mechanism: Annotated[
        Mechanism, typer.Option("--mechanism", help="batch is the paper's; tables have marginals.")
    ] = Mechanism.auto,
    generator: Annotated[Generator, typer.Option("--generator", help="What draws the records.")] = Generator.auto,
    metadata: Annotated[
        Metadata,
        typer.Option("--metadata", help="What is not declared: learned privately, trusted, or refused."),
    ] = Metadata.learn,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", metavar="FILE", help="Book of all that was spent on these records.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", help="With --ledger: refuse to exceed this epsilon in all.")
    ] = None,
    secure_noise: Annotated[
        bool, typer.Option("--secure-noise", help="Noise and sampling from a cipher; needs sinkgen[secure].")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FOLDER",
            help="Keep there what is released until the model is written: what was killed, or found the disk full, "
            "goes on from there when it is run again, and is not charged again. For your eyes only.",
        ),
    ] = None,
    encoding: Encoding = None,
    separator: Separator = None,
    decimal: Decimal = ".",
    drop: Drop = None,
    seed: Seed = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    force: Force = False,
) -> None:
    """Fit a generator to private records, and spend the privacy budget.

    The model may be shown to anyone, as the statement of sinkgen privacy says; so may whatever is drawn from it.
    """
    from sinkgen import DPSinkhornGenerator, PrivacyLedger
    from sinkgen.cli import model as models
    from sinkgen.cli import tables
    from sinkgen.sources.open import ReadOff

    _check_free(output / "model.json", force)
    if budget is not None and ledger is None:
        raise Refused("--budget needs --ledger")
    book = None if ledger is None else PrivacyLedger(ledger, budget, None if budget is None else delta)
    shape = _shape(image_shape)
    if max_rows is not None and group is None:
        raise Refused("--max-rows needs --group")
    most = int(max_rows) if max_rows is not None and max_rows.isdecimal() else max_rows
    if not (most in (None, "auto") or (isinstance(most, int) and most > 0)):
        raise Refused("--max-rows takes a number from 1 on, or auto")
    script = tables.script_of(encoding, separator, decimal, drop)
    private = models.read_private(data, schema, target, classes, shape=shape, group=group, script=script)
    output.mkdir(parents=True, exist_ok=True)  # whatever hinders that must hinder it before the budget is spent
    with models.room_for_model(output), progress_bar(epsilon, quiet) as callback:
        estimator = DPSinkhornGenerator(
            epsilon, delta, mechanism=mechanism.value, generator=generator.value, schema=private.schema,
            image_shape=shape, classes=private.classes, metadata=metadata.value, ledger=book,
            max_rows_per_group=most, secure_noise=secure_noise, random_state=seed, checkpoint_dir=checkpoint,
            callback=callback,
        ).fit(ReadOff(private.X, private.observed), private.y, private.groups)  # fmt: skip
    models.save_or_rescue(estimator, private.layout, output, checkpoint)
    if private.observed:
        say(f"Read off the records, and public with the model: {', '.join(private.observed)}")
    spent = estimator.privacy_spent()
    protected = "" if group is None else f" Protected are persons, with all rows of the same {group}."
    say(f"{str(spent).splitlines()[0]}{protected} Whole statement: sinkgen privacy {output}")
    say(f"Draw records: sinkgen sample {output} -n 1000 -o {models.example_output(data)}")


def _shape(text):
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) not in (2, 3) or not all(side.isdecimal() for side in sides):
        raise Refused("--image-shape must read like 28x28 or 32x32x3")
    return tuple(map(int, sides))


# --- sample ----------------------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "sinkgen sample model -n 1000 -o synth.csv",
        "sinkgen sample model -n 100 --where sex=Female --where age=30..40 -o synth.parquet",
        "sinkgen sample model -n 100 --label 3 --label 7 -o synth.npz",
        "sinkgen sample model -n 20 -o folder-of-pngs",
    )
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
    seed: Seed = None,
    force: Force = False,
) -> None:
    """Draw synthetic records. It costs nothing, as often as you like."""
    from sinkgen.cli import model as models

    loaded = models.load(model)
    models.check_output(loaded, output)
    if output is not None:
        _check_free(output, force)
    drawn = models.draw(loaded, n, label or (), where or (), seed)
    models.write(loaded, drawn, output)


# --- report ----------------------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "sinkgen report model --real data.csv -o report.html",
        "sinkgen report model --real data.csv --test unseen.csv -o report.html",
        "sinkgen report model --real mnist.npz --test mnist.npz -o report.html     (X_train, then X_test)",
    )
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
    from sinkgen.cli import model as models
    from sinkgen.cli import tables

    _check_free(output, force)
    loaded = models.load(model)
    script = tables.script_of(encoding, separator, decimal, drop)
    parts = models.compare(loaded, real, test, target, most=most, seed=seed, script=script)
    page = html_report(
        parts.real, parts.synthetic, test=parts.test, spent=loaded.estimator.privacy_spent(),
        title=f"Synthetic data of {model.name}", most_records=most, random_state=seed,
    )  # fmt: skip
    with replaced(output) as aside:
        aside.write_text(page, encoding="utf-8")
    say(f"{output} shows real records: it is for those who may see them.")


# --- privacy ---------------------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "sinkgen privacy model", "sinkgen privacy model --json", "sinkgen privacy model --for-board > statement.md",
        "sinkgen privacy spent.jsonl",
    )
)  # fmt: skip
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
    from sinkgen.cli import model as models

    if as_json and for_board:
        raise Refused("--json and --for-board are two forms of the statement: give one of them")
    spent = PrivacyLedger(path).total(delta) if path.is_file() else models.load(path).estimator.privacy_spent()
    if for_board:
        typer.echo(board_text(spent), nl=False)
    else:
        typer.echo(json.dumps(spent.to_dict(), indent=1) if as_json else str(spent))


# --- plan ------------------------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "sinkgen plan schema.json --rows 3000 --epsilon 0.3 --epsilon 1",
        "sinkgen plan schema.json --rows 3000 --target income --error 0.02",
    )
)  # fmt: skip
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
    from sinkgen.cli import model as models

    declared = models.read_table_schema(schema)
    classes = None
    if target is not None:
        if target not in declared or declared[target].values is None:
            raise Refused(f"--target must be a column of which {schema} declares the values")
        classes = declared[target].values
        declared = sinkgen.Schema({name: column for name, column in declared.items() if name != target})
    typer.echo(str(sinkgen.plan(declared, rows, epsilon or (0.3, 1.0, 3.0), delta=delta, classes=classes, error=error)))


# --- audit -----------------------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "sinkgen audit data.csv --schema schema.json --target income --epsilon 10",
        "sinkgen audit images.npz --epsilon 10 --fits 200",
    )
)  # fmt: skip
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
    from sinkgen.cli import model as models

    private = models.read_private(data, schema, target, classes)
    gen = sinkgen.DPSinkhornGenerator(epsilon, delta, schema=private.schema, classes=private.classes)
    found = sinkgen.audit(gen, private.X, private.y, data="given" if given else "made-up", fits=fits)
    typer.echo(str(found))
    if not found.holds:
        raise typer.Exit(1)


# --- All together ----------------------------------------------------------------------------------------------------


def _check_table_path(path):
    from sinkgen.cli import tables

    if not tables.is_table(path):
        raise Refused(f"{path} is no table: its name must end in {', '.join(tables.SUFFIXES)}")


def _check_free(path, force):
    """Whatever is written, nothing is overwritten unasked."""
    if path.is_dir():
        if any(path.iterdir()):
            raise Refused(f"{path} holds files already: give a new folder")
    elif path.exists() and not force:
        raise Refused(f"{path} exists: --force overwrites it")


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
