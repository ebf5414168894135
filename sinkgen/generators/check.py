"""Whether the tensors of a saved model are what a generator can be: shapes, finite numbers, signs."""

import math

import torch

from sinkgen.exceptions import BadValueError
from sinkgen.generators.coupling import FARTHEST
from sinkgen.generators.field import Field
from sinkgen.generators.particles import Particles
from sinkgen.generators.people import SIZES, PeopleMixture
from sinkgen.generators.product import ProductMixture

SUM = 1e-3  # probabilities sum to 1 but for this


def check_release(generator, class_weights, form, labels):
    """Raise ValueError unless a generator and the weights of its classes are such as a fit releases.

    Parameters
    ----------
    generator : Particles, ProductMixture, Field or Network
    class_weights : Tensor of shape (n_classes,)
    form : NumericFormat or TableFormat
    labels : LabelSet or None
    """
    n_classes = len(labels.classes) if labels else 1
    _require(not form.missing, "facts of the records are missing")
    _require(labels is None or labels.decode(range(n_classes)).shape == (n_classes,), "labels are none")
    _check("class_weights", class_weights, (n_classes,), low=0)
    _require(abs(float(class_weights.sum()) - 1) < SUM, "class_weights do not sum to 1")
    if isinstance(generator, Particles):
        _check_particles(generator, form, n_classes)
    elif isinstance(generator, Field):
        _check_field(generator, form, n_classes)
    elif isinstance(generator, ProductMixture):
        _check_product(generator, form, n_classes)
    else:
        for name, tensor in generator.module.state_dict().items():
            _require(bool(tensor.isfinite().all()), f"{name} is not finite")
    _check_draws(generator, form, n_classes)


def _check_particles(generator, form, n_classes):
    mixture, space, D = generator.mixture, generator.space, form.n_encoded
    n, d = mixture.points.shape if mixture.points.ndim == 2 else (0, 0)
    warps, tones = form.warps(), form.tones()
    _check("centre", space.centre, (D,))
    _check("weights", space.weights, (D,), low=0)
    _require(bool((space.weights > 0).all()), "weights are not positive")
    _check("basis", space.basis, (D, d))
    _check("points", mixture.points, (n, d))
    _check("mass", mixture.mass, (n,), low=0)
    _check("factors", mixture.factors, (n_classes, d, d))
    _check("radii", mixture.radii, (n_classes, None), low=0)
    _check("scales", mixture.scales, (n,) if len(mixture.scales) else (0,), low=0)
    n_warps = None if warps is not None and mixture.warp_factors.numel() else 0
    _check("warp_factors", mixture.warp_factors, (n_classes, n_warps, n_warps))
    _check("texture", mixture.texture, (D,), low=0)
    texture, spectrum = form.texture(), mixture.spectrum
    _require(texture is not None or not mixture.texture.any(), "texture of what has none")
    if len(spectrum):
        _require(texture is not None, "a spectrum of what has no texture")
        _check("spectrum", spectrum, (texture.n_bands, texture.n_channels, texture.n_channels))
    _check("gains", mixture.gains, (2, None), low=0)
    _require(mixture.gains.shape[1] > 1 and bool((mixture.gains[0].diff() > 0).all()), "gains are no curve")
    _require(tones is not None or not len(mixture.tones), "tones of what has none")
    _check("tones", mixture.tones, (None, 2, *mixture.tones.shape[2:]))
    _require(not len(mixture.columns) or texture is None, "curves of columns of what has none")
    _check("columns", mixture.columns, (D, 2, None) if len(mixture.columns) else (0, 2, 0))
    _require(bool((mixture.columns.diff() >= 0).all()), "curves of columns do not rise")
    n_waves = mixture.waves.shape[1] if mixture.waves.numel() else 0
    _check("waves", mixture.waves, (d, n_waves) if n_waves else (0, 0))
    _check("tilts", mixture.tilts, (n_classes, 2 * n_waves) if n_waves else (0, 0))
    classes = mixture.classes
    _require(classes.dtype == torch.long and classes.shape == (n,), "classes are not one a point")
    _require(bool((classes.diff() >= 0).all()), "classes are not sorted")
    held = torch.zeros(n_classes, dtype=torch.float64)
    _require(n > 0 and int(classes[0]) >= 0 and int(classes[-1]) < n_classes, "classes are none of the labels")
    held.index_add_(0, classes, mixture.mass.double())
    _require(bool((held > 0).all()), "a class has no mass")


def check_counts(counts, form, n_classes):
    """Raise ValueError unless released counts are of the format's columns."""
    widths = (*getattr(form, "widths", ()), n_classes)
    for part in counts:
        fits = all(0 <= j < len(widths) for j in part.columns) and list(part.columns) == sorted(set(part.columns))
        _require(fits and 0 <= part.noise < math.inf, "counts are of no columns")
        if part.columns:
            _require(len(part.groups) == len(part.columns), "counts have other columns than groups")
            for j, of, n in zip(part.columns, part.groups, part.counts.shape, strict=True):
                whole = len(of) == widths[j] and torch.equal(of.unique(), torch.arange(n))
                _require(whole, "groups of counts have gaps")
        _check("counts", part.counts, part.counts.shape)


def _check_product(mixture, form, n_classes):
    n, n_states, n_cells = len(mixture.weights), sum(form.widths), sum(form.cell_counts)
    _require(tuple(mixture.widths.tolist()) == form.widths, "widths are not those of the columns")
    _check("weights", mixture.weights, (n, n_classes), low=0)
    _require(abs(float(mixture.weights.sum()) - 1) < SUM, "weights do not sum to 1")
    _check("frequencies", mixture.frequencies, (n, n_states), low=0)
    sums = torch.stack([part.sum(1) for part in mixture.frequencies.split(form.widths, 1)])
    _require(bool(((sums - 1).abs() < SUM).all()), "frequencies do not sum to 1")
    _require(torch.equal(mixture.cell_states, form.cell_states), "cell_states are not those of the columns")
    _check("cell_shares", mixture.cell_shares, (n_classes, n_cells), low=0)
    _check("parts", mixture.parts, (n_cells, 2), low=0, high=1)
    _check("tilt", mixture.tilt, (n_states, n_classes))
    _check("share", mixture.share, ())
    steps, tilts = mixture.clique_steps, mixture.clique_tilts
    _check("clique_tilts", tilts, (len(steps), None, n_classes))
    _require(steps.shape == (len(tilts), n_states) and bool((steps >= 0).all()), "clique_steps are none")
    if len(steps):
        highest = torch.stack([part.amax(1) for part in steps.split(form.widths, 1)]).sum(0)
        _require(bool((highest < tilts.shape[1]).all()), "cliques have cells without a tilt")
    if isinstance(mixture, PeopleMixture):
        _check_people(mixture, form)


def _check_people(mixture, form):
    n, p, n_bins = len(mixture.weights), len(mixture.ordered), int(SIZES.bins[-1]) + 1
    types, ordered = mixture.types, mixture.ordered
    _require(form.group is not None, "persons of a table without groups")
    _require(types.shape == (n,) and int(types[0]) == 0, "types are not one a component")
    _require(set(types.diff().tolist()) <= {0, 1}, "types are not sorted, or have gaps")
    _check("sizes", mixture.sizes, (len(SIZES),), low=0)
    _require(abs(float(mixture.sizes.sum()) - 1) < SUM, "sizes do not sum to 1")
    _check("size_frequencies", mixture.size_frequencies, (n, n_bins), low=0)
    _require(mixture.constant.shape == (len(form.columns) + 1,), "constant is not one a column")
    _require(ordered.shape == (p,) and len(set(ordered.tolist())) == p, "ordered has a column twice")
    _require(all(0 <= j < len(form.columns) and form.ordered[j] for j in ordered.tolist()), "ordered is no column")
    _require(mixture.held.shape == (p,), "held is not one a column")
    _check("spread", mixture.spread, (2, p, p), low=-1 - SUM, high=1 + SUM)


def _check_field(field, form, n_classes):
    widths, n_cells, places = (*form.widths, n_classes), sum(form.cell_counts), field.places
    _require(tuple(places.widths.tolist()) == form.widths, "widths are not those of the columns")
    for j, width in enumerate(widths):
        _check("heights", field.heights[j].exp(), (width,))  # minus infinity is a state that never occurs
        _check("frequencies", field.frequencies[j], (width,), low=0, high=1 + SUM)
        _require(abs(float(field.frequencies[j].sum()) - 1) < SUM, "frequencies do not sum to 1")
    for clique, potential, target in zip(field.cliques, field.potentials, field.targets, strict=True):
        _require(list(clique.columns) == sorted(set(clique.columns)), "a clique has a column twice")
        for of, n in zip(clique.groups, clique.shape, strict=True):
            _require(torch.equal(of.unique(), torch.arange(n)), "groups have gaps")
        _check("potentials", potential, clique.shape)
        _check("targets", target, clique.shape)
    if field.coupling is not None:
        for scores, width in zip(field.coupling.scores, widths, strict=True):
            _check("scores", scores, (width,), low=-2 * FARTHEST, high=2 * FARTHEST)  # clipped, then less their mean
        _check("coupling", field.coupling.weights, (len(widths), len(widths)))
    states = field.population.long()
    _require(
        states.ndim == 2 and states.shape[0] == len(widths) and states.shape[1] > 0, "the population has no records"
    )
    _require(bool((states >= 0).all()) and bool((states < torch.tensor(widths)[:, None]).all()), "states are none")
    _require(torch.equal(places.cell_states, form.cell_states), "cell_states are not those of the columns")
    _check("cell_shares", places.cell_shares, (n_classes, n_cells), low=0)
    _check("parts", places.parts, (n_cells, 2), low=0, high=1)


def _check(name, tensor, shape, *, low=None, high=None):
    fits = tensor.ndim == len(shape) and all(b in (None, a) for a, b in zip(tensor.shape, shape, strict=True))
    _require(fits, f"{name} has shape {tuple(tensor.shape)}, not {shape}")
    _require(tensor.is_floating_point() and bool(tensor.isfinite().all()), f"{name} is not finite")
    _require(low is None or bool((tensor >= low).all()), f"{name} is below {low}")
    _require(high is None or bool((tensor <= high).all()), f"{name} is above {high}")


def _check_draws(generator, form, n_classes):
    """What fits in shape may still not fit together: a record of each class tells."""
    codes = torch.arange(min(n_classes, 64))
    drawn = generator.draw(codes, torch.Generator().manual_seed(0))
    _require(drawn.shape == (len(codes), form.n_encoded) and bool(drawn.isfinite().all()), "its draws are no records")
    form.decode(drawn)


def _require(holds, message):
    if not holds:
        raise BadValueError(message)
