"""A fit: the one command that spends the budget."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sinkgen.cli.console import Refused, progress_bar, say
from sinkgen.cli.options import Decimal, Drop, Encoding, Force, Seed, Separator, check_free

EXAMPLES = (
    "sinkgen fit data.csv --schema schema.json --epsilon 1 --target income -o model",
    "sinkgen fit photos/ --epsilon 10 --classes cat,dog -o model        (photos/cat/*.png, photos/dog/*.png)",
    "sinkgen fit mnist.npz --epsilon 10 --classes 0,1,2,3,4,5,6,7,8,9 -o model",
    "sinkgen fit data.csv --epsilon 1 --ledger spent.jsonl --budget 3 -o model",
    "sinkgen fit visits.csv --epsilon 1 --group patient -o model        (a patient has several rows)",
    "sinkgen fit visits.csv --epsilon 1 --group patient --whole-groups -o model",
)


class Mechanism(str, Enum):
    """What spends the budget."""

    auto = "auto"
    semidual = "semidual"
    batch = "batch"
    marginals = "marginals"


WITH_GROUPS = (Mechanism.auto, Mechanism.marginals)


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
    whole_groups: Annotated[
        bool,
        typer.Option("--whole-groups", help="With --group: learn persons with all their rows, for sample --groups."),
    ] = False,
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
    from sinkgen import DPSinkhornGenerator, Marginals, PrivacyLedger
    from sinkgen.cli import tables
    from sinkgen.cli.draws import example_output
    from sinkgen.cli.model import room_for_model, save_or_rescue
    from sinkgen.cli.private import read_private
    from sinkgen.sources.open import ReadOff

    check_free(output / "model.json", force)
    if budget is not None and ledger is None:
        raise Refused("--budget needs --ledger")
    book = None if ledger is None else PrivacyLedger(ledger, budget, None if budget is None else delta)
    shape = _shape(image_shape)
    if max_rows is not None and group is None:
        raise Refused("--max-rows needs --group")
    if whole_groups and (group is None or max_rows is not None or mechanism not in WITH_GROUPS):
        raise Refused("--whole-groups needs --group, of a table, and goes with no --max-rows and no other --mechanism")
    most = int(max_rows) if max_rows is not None and max_rows.isdecimal() else max_rows
    if not (most in (None, "auto") or (isinstance(most, int) and most > 0)):
        raise Refused("--max-rows takes a number from 1 on, or auto")
    settings = Marginals(whole_groups=True) if whole_groups else mechanism.value
    script = tables.script_of(encoding, separator, decimal, drop)
    private = read_private(data, schema, target, classes, shape=shape, group=group, script=script)
    output.mkdir(parents=True, exist_ok=True)  # whatever hinders that must hinder it before the budget is spent
    with room_for_model(output), progress_bar(epsilon, quiet) as callback:
        estimator = DPSinkhornGenerator(
            epsilon, delta, mechanism=settings, generator=generator.value, schema=private.schema,
            image_shape=shape, classes=private.classes, metadata=metadata.value, ledger=book,
            max_rows_per_group=most, secure_noise=secure_noise, random_state=seed, checkpoint_dir=checkpoint,
            callback=callback,
        ).fit(ReadOff(private.X, private.observed), private.y, private.groups)  # fmt: skip
    save_or_rescue(estimator, private.layout, output, checkpoint)
    if private.observed:
        say(f"Read off the records, and public with the model: {', '.join(private.observed)}")
    spent = estimator.privacy_spent()
    protected = "" if group is None else f" Protected are persons, with all rows of the same {group}."
    say(f"{str(spent).splitlines()[0]}{protected} Whole statement: sinkgen privacy {output}")
    wanted = "--groups" if whole_groups else "-n"
    say(f"Draw records: sinkgen sample {output} {wanted} 1000 -o {example_output(data)}")


def _shape(text):
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) not in (2, 3) or not all(side.isdecimal() for side in sides):
        raise Refused("--image-shape must read like 28x28 or 32x32x3")
    return tuple(map(int, sides))
