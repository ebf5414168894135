"""The semidual mechanism: T noisy steps of semi-dual transport, what prepares them and what refines them.

Read :func:`train_semidual` first: it is the whole private stage, in order.
"""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch

from sinkgen._device import normal, sent
from sinkgen._groups import class_slices, sort_by_class
from sinkgen.data.facts import Facts
from sinkgen.denoise.spectra import exact_directions, principal_directions, shrink_points, updated_directions
from sinkgen.generators.particles import Particles, PointMixture
from sinkgen.generators.quality import texture_remarks
from sinkgen.generators.space import Space
from sinkgen.images.texture import ROOT, STANDS_OUT, WHITE, TextureModel, find_texture
from sinkgen.ot import sinkhorn_symmetric
from sinkgen.privacy.queries.moments import MeanQuery, MomentQuery, NormQuery
from sinkgen.privacy.queries.transport import Transported, TransportQuery
from sinkgen.settings import Semidual
from sinkgen.settings.semidual import regs_of
from sinkgen.training.points.corrections import with_columns, with_gains, with_tilts, with_tones
from sinkgen.training.points.variation import (
    Explained,
    Offsets,
    Seen,
    find_scales,
    find_variation,
    find_warp_factors,
    fit_warps,
    gaussian,
    sharpen_points,
)
from sinkgen.training.points.views import cost_scale, make_view
from sinkgen.training.stage import Schedule, Stage, Trained

# Share of the budget (of mu squared) that each release gets, and how often the short ones happen.
SHARES = {"norms": 0.01, "mean": 0.01, "scales": 0.01, "radii": 0.01, "residuals": 0.14}
# Constants chosen by trials: docs/experiments.md, Images.
MOMENTS_AND_POINTS = 0.76
WARPS_SHARE = 0.05
TONES_SHARE = 0.02
TEXTURE_SHARE = 0.01
FEATURES_SHARE, FEATURES_FROM = 0.03, 0.1
NORM_STEPS = 2
MOST_DIRECTIONS = 120
# Of a prior: records, directions that are looked at, and those that are kept.
MOST_PUBLIC, PUBLIC_DIRECTIONS, KEPT_DIRECTIONS, KEPT_SHARE = 5000, 400, 240, 0.98
MOST_POINTS = 100
SIGNAL_PER_POINT = 25.0
EDGE_SHARE = 0.5
TEXTURE_FROM = 0.7  # share of the variance that the directions must hold: what is left is then texture, not shape


def reg_at(settings, step):
    """Regularisation of a step, as a share of the mean cost."""
    start, end = regs_of(settings)
    return start * (end / start) ** min(1.0, step / max(settings.settle * settings.steps, 1e-9))


def is_averaging(settings, step):
    """Whether a step belongs to the last ones, that average; at least the very last does."""
    return step >= min(settings.settle * settings.steps, settings.steps - 1)


def averaged_steps(settings):
    """Number of steps that average."""
    return sum(is_averaging(settings, step) for step in range(settings.steps))


def shares(form, settings):
    """Share of the budget of each release, for records of this format; they need not sum to 1."""
    warps = {"warps": WARPS_SHARE} if settings.deform and form.warps() is not None else {}
    tones = {"texture": TEXTURE_SHARE, "tones": TONES_SHARE} if form.tones() is not None else {}
    main = {"moments": settings.moments, "points": MOMENTS_AND_POINTS - settings.moments}
    # Where records are no images the mixture has what it needs: tilts gained nothing there.
    features = {"features": settings.features} if settings.features and form.tones() is not None else {}
    return SHARES | main | warps | tones | features


def auto_steps(mu):
    """Number of releases of the points, from the budget's Gaussian-DP parameter: little budget, few steps."""
    return round(min(25.0, max(3.0, 15 * mu**0.4)))


def auto_moments(mu):
    """Share of the budget of the second moments: little budget, more, for directions that are not found are lost."""
    return min(0.3, max(0.06, 0.1 / mu ** (1 / 3)))


def auto_features(mu):
    """Share of the budget of the mean features: none where noise would drown them."""
    return FEATURES_SHARE if mu >= FEATURES_FROM else 0.0


def plan_semidual(mu: float, facts: Facts, given: dict) -> Schedule:
    """Settings and releases, from the budget's Gaussian-DP parameter and public facts alone."""
    auto = {"steps": auto_steps(mu), "moments": auto_moments(mu), "features": auto_features(mu)}
    settings = Semidual(**auto | given)
    steps = {"points": settings.steps, "norms": NORM_STEPS}
    return Schedule(settings, shares(facts.form, settings), steps, ("points", settings.sampling_rate))


def train_semidual(stage: Stage) -> Trained:
    """The private stage: from encoded records in [0, 1]^D to points with variation around them."""
    stage = replace(stage, counts=stage.counts.clamp_min(1.0))
    form, counts, random = stage.form, stage.counts, stage.random
    space, variances, texture, missed = find_space(stage)
    classes = allot_points(stage, space)
    start = gaussian(len(classes), variances, random)
    view = make_view(stage.cost, space, 0.5 * start)
    scale = cost_scale(view, *space.lift(gaussian(512, variances, random)).split(256))
    moved = move_points(stage, classes, view, scale)
    # From here on all that is public lies where the records do, but for what there are few of.
    points = sent(shrink_points(view.coordinates().cpu(), classes, moved.noise.cpu()), stage.device)
    seen = Seen(view.cost, view.measure, sent(view.support.points(), stage.device))
    offsets = Offsets(points, classes, seen, sent(moved.potentials, stage.device), space)
    fields = form.warps() if stage.settings.deform else None
    fields = None if fields is None else fields.to(stage.device)
    warps = fit_warps(fields, points, space, variances)
    explained = Explained.of(stage.source, offsets, warps)
    warp_factors = find_warp_factors(stage, explained)
    scales = find_scales(stage, explained, classes, variances)
    factors, radii = find_variation(stage, explained, scales, variances)
    if fields is not None:
        points = sharpen_points(points, classes, warp_factors, fields, space, random)
    weights = (counts / counts.sum()).float()
    mixture = PointMixture(
        points, classes, moved.mass, factors, radii, warp_factors, texture.strength, weights,
        spectrum=texture.spectrum, scales=scales,
    ).to(stage.device)  # fmt: skip
    charged = shares(form, stage.settings)
    if "texture" in charged:
        mixture = with_gains(mixture, stage, space)
    if "tones" in charged:
        mixture = with_tones(mixture, stage, space)
    if "features" in charged:
        mixture = with_tilts(mixture, stage, space)
    if stage.counted and form.n_groups == form.n_encoded:
        mixture = with_columns(mixture, stage, space)
    is_looked_for, is_told = len(texture.spectrum) > 0, bool(texture.strength.any())
    remarks = texture_remarks(is_told, missed, not torch.equal(mixture.gains.cpu(), ROOT)) if is_looked_for else ()
    return Trained(Particles.of(mixture, space, form).cpu(), weights, remarks=remarks)


# --- Where the records lie -------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    space: Space
    variances: torch.Tensor
    texture: TextureModel
    missed: float  # share of the variance that texture has to be to stand out of the noise


def find_space(stage):
    """Private centre and scale of the encoded records, and the directions in which they vary most.

    Three small releases: distances to the middle (they bound the mean's noise), the mean, distances to it (they bound
    the moments' noise), then the second moments, in a public basis where few coordinates hold most variance.
    """
    source, form, mechanism, count = stage.source, stage.form, stage.mechanism, float(stage.counts.sum())
    middle = torch.full((form.n_encoded,), 0.5)
    largest = 0.5 * math.sqrt(form.n_encoded)
    clip = mechanism.release("norms", NormQuery(middle, largest), source)
    centre = middle + (mechanism.release("mean", MeanQuery(middle, clip), source) / count).float()
    radius = mechanism.release("norms", NormQuery(centre, 2 * largest), source)
    public = form.public_basis()
    basis = torch.eye(form.n_encoded) if public is None else public
    whole = Space(centre, torch.full_like(centre, 1 / radius), basis).to(stage.device)
    coordinates = source.map(partial(_measured, whole.project))
    moment = mechanism.release("moments", MomentQuery(basis.shape[1], 1.0), coordinates)[0] / count
    noise_scale = mechanism.noise_multiplier("moments") / count
    moment = sent(moment.float(), stage.device)
    directions = _find_directions(stage, whole, moment, noise_scale)
    texture = TextureModel(torch.zeros_like(centre), WHITE, ROOT)
    held = float(directions.variances.sum() / moment.trace().clamp_min(1e-12))
    if form.texture() is not None and held > TEXTURE_FROM:
        found = find_texture(moment, directions, form.network_shape, noise_scale)
        texture = found._replace(spectrum=radius * found.spectrum)
    missed = STANDS_OUT * noise_scale * math.sqrt(basis.shape[1]) / max(float(moment.trace()), 1e-12)
    space = whole._replace(basis=whole.basis @ directions.basis)
    return _Found(space, directions.variances.cpu(), texture, missed)


def _find_directions(stage, whole, moment, noise_scale):
    found = principal_directions(moment, noise_scale, edge_share=EDGE_SHARE, most=MOST_DIRECTIONS)
    if stage.prior is None:
        return found
    values = stage.prior.values
    some = values[:: -(-len(values) // MOST_PUBLIC)]  # from all of them: they may be sorted
    public = whole.project(sent(stage.form.encode(some), stage.device))
    expected = exact_directions(public, PUBLIC_DIRECTIONS, stage.random)
    updated = updated_directions(moment, noise_scale, expected, share=KEPT_SHARE, most=KEPT_DIRECTIONS)
    held = float((updated.basis * (moment @ updated.basis)).sum())
    return updated if held > float(found.held.sum()) else found  # a prior of few records, or of others, holds little


def allot_points(stage, space):
    """Class of each point: as many a class as its records can hold up against the noise; post-processing."""
    counts, mechanism, settings = stage.counts, stage.mechanism, stage.settings
    per_release = mechanism.noise_multiplier("points") / settings.sampling_rate / math.sqrt(settings.steps)
    d = space.basis.shape[1]
    signal = counts / max(per_release * settings.clip * math.sqrt(d), 1e-9)
    points = (signal / SIGNAL_PER_POINT).round().clamp(1, MOST_POINTS).long()
    points = torch.minimum(points, (counts / 2).long().clamp_min(1))
    return torch.repeat_interleave(torch.arange(len(counts)), points)


# --- The algorithm ---------------------------------------------------------------------------------------------------


class _Moved(NamedTuple):
    mass: torch.Tensor
    potentials: torch.Tensor
    noise: torch.Tensor


def _measured(measure, records):
    return records.having(values=measure(records.values))


def _measured_by_class(measure, records):
    return sort_by_class(_measured(measure, records))


def move_points(stage, classes, view, scale):
    """Noisy steps of semi-dual transport; the support moves in place.

    Returns
    -------
    mass : Tensor of shape (n,)
        Mean noisy mass over the averaging steps, at least 0; what does not stand out is 0.
    potentials : Tensor of shape (n,)
    noise : Tensor of shape (n,)
        Standard deviation of what the noise adds to each coordinate of a point.
    """
    mechanism, settings, counts = stage.mechanism, stage.settings, stage.counts
    clip = settings.clip * scale.force
    mass_clip = settings.mass_share * clip
    measured = stage.source.map(partial(_measured_by_class, view.measure))
    # Steps are taken where the points lie: free ones on the processor, for these are few.
    home = view.support.points().device
    even_mass = (settings.sampling_rate * counts / torch.bincount(classes))[classes].float().to(home)
    potentials, mass = torch.zeros(2, len(classes), device=home)
    noise = mechanism.noise_multiplier("points") * math.hypot(clip, mass_clip)  # of each coordinate of a displacement
    noise_mass = noise * math.sqrt(view.support.points().shape[1]) / clip  # mass whose displacement is mostly noise
    for step in stage.progress("private steps")(range(settings.steps)):
        reg = reg_at(settings, step) * scale.mean
        points = view.support.points()
        query = TransportQuery(points, classes, potentials, reg, view.cost, clip=clip, mass_clip=mass_clip)
        released = Transported(*(part.to(home) for part in mechanism.release("points", query, measured)))
        now, averaging = released.mass.float().clamp_min(0), is_averaging(settings, step)
        # The posterior mean of a displacement of about a clip: what serves no records stays where it is.
        move = scale.step * released.displacement.float() * (now / (now.square() + noise_mass**2))[:, None]
        if settings.debias:
            move -= scale.step * self_displacement(points, classes, reg, view.cost, stage.backend)
        shrink = 1 / (2 + step - settings.settle * settings.steps) if averaging else 1.0
        target = points + shrink * move
        relaxation = settings.relaxation / 2 if averaging else settings.relaxation
        potentials = potentials + relaxation * reg * torch.log(
            even_mass / torch.maximum(now, settings.floor * even_mass)
        )
        if averaging:
            mass += released.mass.float() / averaged_steps(settings)
        else:
            jitter = 0.1 * clip / math.sqrt(target.shape[1])
            target, potentials = split_heavy(
                target, potentials, now, even_mass, classes, stage.random, reg=reg, jitter=jitter
            )
        view.support.fit(target, torch.maximum(now, settings.floor * even_mass))
    # A move of 1/(2 + t) a step leaves 1.33 times the variance of a plain average.
    left = noise * scale.step * math.sqrt(1.33 / averaged_steps(settings))
    usable = mass.clamp_min(0) * (mass > 0.3 * even_mass)
    return _Moved(_fill_empty(usable, classes), potentials, left / torch.maximum(mass, settings.floor * even_mass))


def _fill_empty(mass, classes):
    # A class none of whose points stands out keeps all of them.
    for rows in class_slices(classes).values():
        if not mass[rows].any():
            mass[rows] = 1.0
    return mass


def split_heavy(points, potentials, mass, even_mass, classes, random, *, reg, jitter):
    """Put points that serve hardly any records beside ones that serve many; post-processing.

    Parameters
    ----------
    points : Tensor of shape (n, k)
    potentials, mass, even_mass : Tensor of shape (n,)
        ``even_mass`` is the mass of a point if all of its class were equal.
    classes : LongTensor of shape (n,), sorted
    random : torch.Generator
    reg : float
    jitter : float
        Standard deviation of how far beside, in each coordinate.

    Returns
    -------
    points, potentials : Tensor
    """
    points, potentials = points.clone(), potentials.clone()
    for rows in class_slices(classes).values():
        idle = torch.nonzero(mass[rows] < 0.25 * even_mass[rows]).flatten() + rows.start
        weight = (mass * (mass >= 0.25 * even_mass))[rows]
        if len(idle) and weight.any():
            heavy = torch.multinomial(weight.cpu(), len(idle), replacement=True, generator=random) + rows.start
            points[idle] = points[heavy] + jitter * normal((len(idle), points.shape[1]), random, points)
            potentials[idle] = potentials[heavy] = potentials[heavy] - reg * math.log(2)
    return points, potentials


def self_displacement(points, classes, reg, cost, backend):
    """What the Sinkhorn divergence's self term takes off each point's displacement, (n, k); exact and public.

    It is the displacement of the entropic transport among the points themselves, within each class, whose blur it
    undoes.

    References
    ----------
    .. [1] Cao, Bie, Vahdat, Fidler, Kreis, "Don't Generate Me", arXiv 2111.01177, equation 5 with p = 0.
    """
    out = torch.empty_like(points)
    for rows in class_slices(classes).values():
        x = points[rows]
        plan = sinkhorn_symmetric(cost.matrix(x, x), reg, backend=backend).plan
        out[rows] = -0.5 * cost.weighted_gradient(plan * len(x), x, x)
    return out
