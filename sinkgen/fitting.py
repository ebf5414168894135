"""Public settings of a fit, before the first release: what "auto" means, and the noise of each release."""

from typing import Any, NamedTuple

from sinkgen.accounting import gaussian_mu
from sinkgen.accounting.budget import split_budget
from sinkgen.data import facts as metadata
from sinkgen.training import batch
from sinkgen.training.points import semidual
from sinkgen.training.tables import tabular

TABULAR = "tabular"  # what "semidual" is for tables


class Plan(NamedTuple):
    """What will be done, and at what cost.

    Attributes
    ----------
    settings : SemidualSettings, BatchSettings or TabularSettings
    releases : tuple of GaussianRelease
        Everything that the fit will release; charged as a whole before the first of them.
    """

    settings: Any
    releases: tuple


def make_plan(training, epsilon, delta, form, missing, given, accountant):
    """Settings and noise, from the budget and public facts alone.

    All noise is fixed here, before any release, so that the accountant's composition theorem applies as it stands; what
    is chosen later from released numbers (bounds, directions, the number of points) changes what is asked, not how
    noisily.

    Parameters
    ----------
    training : {"semidual", "batch", "tabular"}
    epsilon, delta : float
    form : NumericFormat or TableFormat
    missing : tuple of str
        Releases that have to find what is not declared; keys of ``metadata.SHARES``.
    given : dict
        Settings that the user gave; the others are "auto".
    accountant : str

    Returns
    -------
    Plan
    """
    # A Plan's numbers may depend on delta only through the part that thresholds do not take.
    own_delta = {what: share * delta for what, share in metadata.OWN_DELTA.items() if what in missing}
    known = {what: metadata.SHARES[what] for what in missing}
    if training == TABULAR:
        settings = tabular.auto_settings(gaussian_mu(epsilon, delta - sum(own_delta.values())), **given)
        shares, steps = known | settings.shares, {"refinements": settings.refinements}
        releases = split_budget(epsilon, delta, shares, steps=steps, own_delta=own_delta, accountant=accountant)
        return Plan(settings, releases)
    if training == "batch":
        settings, shares = batch.BatchSettings(**given), batch.SHARES
        main, steps = "gradients", {"gradients": settings.steps}
    else:
        mu = gaussian_mu(epsilon, delta - sum(own_delta.values()))
        auto = {
            "steps": semidual.auto_steps(mu),
            "moments": semidual.auto_moments(mu),
            "features": semidual.auto_features(mu),
        }
        settings = semidual.SemidualSettings(**auto | given)
        shares = semidual.shares(form, settings)
        main, steps = "points", {"points": settings.steps, "norms": semidual.NORM_STEPS}
    releases = split_budget(
        epsilon, delta, known | shares, steps=steps, own_delta=own_delta, sampled=(main, settings.sampling_rate),
        accountant=accountant,
    )  # fmt: skip
    return Plan(settings, releases)
