"""A fit, in order: public facts, a plan, the charge, the private stage, a release.

Nothing of it is known to the estimator but :func:`fit`; nothing that sees records is known to it but through what
:data:`TRAINERS` holds.
"""

import uuid
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from numbers import Integral
from typing import Any, NamedTuple

import torch

from sinkgen._device import sent
from sinkgen.accounting import GaussianRelease, PrivacySpent, gaussian_mu
from sinkgen.accounting.budget import split_budget
from sinkgen.accounting.unit import AUTO, RECORD, Unit
from sinkgen.data import facts as metadata
from sinkgen.data.facts import Facts
from sinkgen.data.formats import NumericFormat, numeric_format
from sinkgen.data.labels import LabelSet
from sinkgen.data.layout import name_of_labels
from sinkgen.data.prior import read_prior
from sinkgen.data.table import Rows, TableFormat, orders_of_dtypes, table_format
from sinkgen.exceptions import BadValueError, ReproducibleNoiseWarning
from sinkgen.generators.release import Release
from sinkgen.inference.counts import pooled
from sinkgen.ot import resolve_cost
from sinkgen.parameters import Parameters, check_array_parameters, check_table_parameters, draw_seed, torch_device
from sinkgen.privacy.journal import Journal, Kept, Unkept, kept_journal
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.sealed import SealedSource, seal
from sinkgen.privacy.streams import new_key
from sinkgen.progress import Progress
from sinkgen.records import AskedRecords, Records, Terms
from sinkgen.settings import Settings, mechanism_of
from sinkgen.sources.open import Data, check_source, fingerprint
from sinkgen.training.batch import plan_batch, train_batch
from sinkgen.training.known import Known, fitted_schema
from sinkgen.training.persons import learn_sizes
from sinkgen.training.points.semidual import plan_semidual, train_semidual
from sinkgen.training.rehearsal import rehearse
from sinkgen.training.stage import Schedule, Stage, Trained
from sinkgen.training.tables.choice import plan_marginals, train_marginals
from sinkgen.training.undeclared import completed, learn_form, learn_labels, learn_outside

# Parameters that may change while a fit is unfinished.
FREE = ("ledger", "device", "checkpoint_dir", "verbose", "callback")


class Trainer(NamedTuple):
    """One mechanism: what it will release, and its private stage."""

    plan: Callable[[float, Facts, dict], Schedule]
    train: Callable[[Stage], Trained]


TRAINERS = {
    "semidual": Trainer(plan_semidual, train_semidual),
    "batch": Trainer(plan_batch, train_batch),
    "marginals": Trainer(plan_marginals, train_marginals),
}


class BudgetPlan(NamedTuple):
    """What will be done, and at what cost.

    Attributes
    ----------
    settings : SemidualSettings, BatchSettings, TabularSettings or FieldSettings
    releases : tuple of GaussianRelease
        Everything that the fit will release; charged as a whole before the first of them.
    """

    settings: Any
    releases: tuple[GaussianRelease, ...]


class Fitted(NamedTuple):
    """What a fit leaves.

    Attributes
    ----------
    release : Release
        All that was released.
    random : torch.Generator
        The public stream, as far as it has been drawn from.
    kept : Kept or None
        Where the release is kept until it is saved.
    """

    release: Release
    random: torch.Generator
    kept: Kept | None


def fit(
    estimator: Parameters, data: Data, given: dict, progress: Progress, former: Kept | None = None, *,
    door: Callable[..., GaussianMechanism] = GaussianMechanism,
) -> Fitted:  # fmt: skip
    """Spend the budget on the records of ``data``.

    Parameters
    ----------
    estimator : DPSinkhornGenerator
        Only its parameters are looked at; they have been checked.
    data : Data
    given : dict
        The settings that are not left to "auto".
    progress : Progress
    former : Kept, optional
        Of the release that this one replaces: a second fit is a second spend, and does not go on from it.
    door : callable
        Makes the mechanism; an audit's watches it.

    Raises
    ------
    TypeError, ValueError
        If a parameter or the data are unusable, before anything is spent.
    """
    facts = collect_facts(estimator, data, given)
    device = working_device(estimator, facts.form)
    cost = resolve_cost(estimator.cost, None if isinstance(facts.form, TableFormat) else facts.form.network_shape)
    latent_dim = given.get("latent_dim", AUTO)
    rehearse(facts, cost, estimator.generator, device, estimator.augment, latent_dim=latent_dim)
    trainer = TRAINERS[mechanism_name(estimator.mechanism, facts.form)]
    unit = unit_of(estimator, data)
    chooses = estimator.max_rows_per_group == AUTO
    plan = plan_budget(
        trainer, facts, given, estimator.epsilon, estimator.delta, estimator.accountant,
        max_rows=None if chooses else unit.max_rows,
    )  # fmt: skip
    if estimator.noise_seed is not None:
        message = "noise_seed makes the noise reproducible, and so removable: for tests only"
        warnings.warn(message, ReproducibleNoiseWarning, stacklevel=3)  # the caller of the estimator's fit
    is_reproducible, is_secure = estimator.noise_seed is not None, estimator.secure_noise
    spent = PrivacySpent.of(
        plan.releases, estimator.delta, estimator.accountant, facts.assumptions,
        reproducible_noise=is_reproducible, secure_noise=is_secure, unit=unit, settings=repr(plan.settings),
    )  # fmt: skip
    with open_journal(estimator, facts, plan, unit, data, former) as journal:
        if isinstance(data.source, AskedRecords):
            session = journal.charge_id or uuid.uuid4().hex
            data.source.agree(Terms(session, plan.releases, estimator.delta, estimator.accountant, facts.form))
        # From here on the budget is spent, whatever happens.
        mechanism = door(
            plan.releases, estimator.delta, ledger=estimator.ledger, noise_seed=estimator.noise_seed,
            secure_noise=is_secure, assumptions=facts.assumptions, unit=unit, journal=journal,
        )  # fmt: skip
        if former is not None:  # which lies elsewhere, if checkpoint_dir was changed
            former.discard()
        progress.follow(lambda: mechanism.releasing, lambda: spent.epsilon_after(mechanism.steps_done))
        random = torch.Generator().manual_seed(journal.seed)
        raw = bound_by_release(seal(data.source), mechanism) if chooses else mechanism.bound(seal(data.source))
        form, labels, counts, source, known = prepare(raw, facts, mechanism, device)
        stage = Stage(
            source, counts, form, mechanism, plan.settings, cost, estimator.backend,
            estimator.generator, device, random, progress.steps, known.states, known.counted, facts.prior,
        )  # fmt: skip
        trained = trainer.train(stage)
        schema = fitted_schema(form, labels, counts, known, trained, mechanism)
    spent = replace(spent, remarks=schema.remarks)
    if chooses:
        spent = spent.having_chosen(mechanism.unit)
    release = Release(
        trained.generator, trained.class_weights, form, labels, spent, schema, pooled(mechanism.counts),
        trained.moments,
    )  # fmt: skip
    return Fitted(release, random, journal.kept)


def collect_facts(estimator: Parameters, data: Data, given: dict) -> Facts:
    """Public facts of the data, after a look at all of it for what cannot be encoded."""
    facts = declared_facts(estimator, data, given)
    if isinstance(data.source, AskedRecords):  # owners look at their own
        if estimator.metadata == "trust":
            raise BadValueError(
                "metadata='trust' reads facts off the records, which owners keep; declare or learn them"
            )
        return replace(facts, assumptions=(*facts.assumptions, *data.source.assumptions()), sums_alone=True)
    check_source(data.source, facts.form)
    return metadata.trust(facts, data.source) if estimator.metadata == "trust" else facts


def declared_facts(estimator: Parameters, data: Data, given: dict) -> Facts:
    """Public facts by the format of the data alone: no record is looked at."""
    values, labels = data.layout.values, data.layout.labels
    form: NumericFormat | TableFormat
    read_off = data.layout.read_off
    if isinstance(values, Rows):
        check_table_parameters(estimator, given)
        _check_apart(estimator.schema, data.layout)
        label = None if labels is None else data.layout.label or name_of_labels(data.layout.names or ())
        form = table_format(values.frame, estimator.schema, data.layout.frame_kind, label)
        read_off += orders_of_dtypes(form, estimator.schema)
        form = replace(form, group=data.layout.group_ids)
    else:
        form = numeric_format(values, estimator.image_shape, estimator.schema, data.layout.names)
        check_array_parameters(estimator, form)
    facts = metadata.collect(form, labels, estimator.classes, estimator.metadata, read_off)
    if estimator.prior is None:
        return facts
    prior = read_prior(estimator.prior, form)
    return replace(facts, prior=prior, assumptions=(*facts.assumptions, prior.assumption))


def _check_apart(schema, layout):
    """Refuse declarations of columns that are not modelled as such, in words that say what to do."""
    roles = {
        layout.label: "holds the labels: declare these by classes=",
        layout.group: "says whose each row is, and is no feature: leave it out of the schema",
    }
    for name, role in roles.items():
        if name is not None and name in (schema or {}):
            raise BadValueError(f"schema declares {name!r}, which {role}")


def unit_of(estimator: Parameters, data: Data) -> Unit:
    """Whom the fit protects: a record, or where rows belong to groups a person."""
    if data.layout.has_groups:
        return Unit.of_groups(estimator.max_rows_per_group)
    if estimator.max_rows_per_group is not None:
        raise BadValueError("max_rows_per_group bounds the rows of a group; give fit the groups, or leave it None")
    return RECORD


def mechanism_name(mechanism: str | Settings, form: NumericFormat | TableFormat) -> str:
    """What ``mechanism`` stands for: "auto" is "marginals" for tables, and "semidual" for the rest."""
    name = mechanism_of(mechanism)
    if name != "auto":
        return name
    return "marginals" if isinstance(form, TableFormat) else "semidual"


def plan_budget(
    trainer: Trainer, facts: Facts, given: dict, epsilon: float, delta: float, accountant: str, *,
    max_rows: int | None = 1,
) -> BudgetPlan:  # fmt: skip
    """Settings and noise, from the budget and public facts alone.

    All noise is fixed here, before any release, so that the accountant's composition theorem applies as it stands; what
    is chosen later from released numbers (bounds, directions, the number of points) changes what is asked, not how
    noisily. Where ``max_rows`` is None a release chooses it, and settings are those for 1.
    """
    # A plan's numbers may depend on delta only through the part that thresholds do not take.
    own_delta = {what: share * delta for what, share in metadata.OWN_DELTA.items() if what in facts.missing}
    known = {what: metadata.SHARES[what] for what in (*facts.missing, *["rows"] * (max_rows is None))}
    # Noise is planned in units of what a record adds: of a person's, it has to be as many times as large.
    mu = gaussian_mu(epsilon, delta - sum(own_delta.values())) / (max_rows or 1)
    settings, shares, steps, sampled = trainer.plan(mu, facts, given)
    releases = split_budget(
        epsilon,
        delta,
        {**known, **shares},
        steps={**metadata.STEPS, **steps},
        own_delta=own_delta,
        sampled=sampled,
        accountant=accountant,
    )  # fmt: skip
    return BudgetPlan(settings, releases)


def open_journal(
    estimator: Parameters, facts: Facts, plan: BudgetPlan, unit: Unit, data: Data, former: Kept | None
) -> AbstractContextManager[Journal | Unkept]:
    """Context of the secrets of the fit: new ones, or in ``checkpoint_dir`` those of the fit to go on with."""
    key, seed = new_key(estimator.noise_seed), draw_seed(estimator.random_state)
    if estimator.checkpoint_dir is None:
        return nullcontext(Unkept(key, seed))
    given = estimator.get_params(deep=False)
    settings = {name: _describe(value) for name, value in given.items() if name not in FREE}
    settings["random_state"] = estimator.random_state if isinstance(estimator.random_state, Integral) else None
    settings["prior"] = facts.prior
    settings |= {"format of X": facts.form, "labels": facts.labels, "plan of the releases": plan, "groups": unit}
    settings["set of records"] = fingerprint(data.source)
    return kept_journal(estimator.checkpoint_dir, settings, key=key, seed=seed, replaces=former)


class Prepared(NamedTuple):
    """What every mechanism needs first: nothing is missing in the form, and classes are counted."""

    form: NumericFormat | TableFormat
    labels: LabelSet | None
    counts: torch.Tensor
    source: SealedSource
    known: Known


def bound_by_release(raw: SealedSource, mechanism: GaussianMechanism) -> SealedSource:
    """The records, bounded as a release of how many rows persons have says; it is made of shares."""
    sizes = learn_sizes("rows", mechanism.bound(raw, Unit.of_groups(None)), mechanism)
    return mechanism.bound(raw, sizes.best_unit())


def prepare(raw: SealedSource, facts: Facts, mechanism: GaussianMechanism, device: torch.device) -> Prepared:
    """Release what was not declared and how many records there are of each class, and encode the records."""
    classes = learn_labels(facts, raw, mechanism)
    outside = learn_outside(facts.form, raw, classes.total, mechanism)
    form, counted, states = learn_form(facts, raw, classes.total, mechanism)
    form, states = completed(form, classes.labels, states)
    encoded = raw.map(Encoder(form, classes.coded, device))
    return Prepared(form, classes.labels, classes.counts, encoded, Known(facts.form, counted, states, outside, classes))


class Encoder:
    """Raw records to encoded ones, each on its own."""

    def __init__(self, form: NumericFormat | TableFormat, labels: LabelSet | None, device: torch.device) -> None:
        self.form, self.labels, self.device = form, labels, device

    def __call__(self, records: Records) -> Records:
        codes = (
            torch.zeros(len(records), dtype=torch.long) if self.labels is None else self.labels.encode(records.labels)
        )
        if isinstance(self.form, TableFormat):
            values = sent(self.form.obeying(self.form.encode(records.values), codes), self.device)
        else:
            values = self.form.encode(records.values, self.device)
        groups = None if records.groups is None else sent(records.groups, self.device)
        return Records(values, sent(codes, self.device), groups)


def working_device(estimator: Parameters, form: NumericFormat | TableFormat) -> torch.device:
    """Where the passes over the records and the networks run.

    The CPU where a feature map of the user's lies; and for tables that are left to "auto", whose passes count states: a
    device would wait for the processor.
    """
    if isinstance(estimator.cost, torch.nn.Module):
        return torch.device("cpu")
    if isinstance(form, TableFormat) and estimator.device == "auto":
        return torch.device("cpu")
    return torch_device(estimator.device)


def _describe(value):
    """What tells a parameter from another, in the next process too: of functions and objects of torch, their names."""
    if not callable(value):
        return value
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
