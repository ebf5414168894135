"""What a mixture's draws are held against: the records' tones, and their mean features."""

from dataclasses import replace
from functools import partial

import torch

from sinkgen._device import normal, sent
from sinkgen.generators.columnwise import fit_columns
from sinkgen.generators.particles import Particles
from sinkgen.generators.tilt import LARGEST_SHARE, fit_tilt, make_features
from sinkgen.privacy.queries.moments import FeatureQuery, GainQuery, ToneQuery

# Constants chosen by trials: docs/experiments.md, Images.
LEFT_OUT, SURE = 1.05, 3.0  # records that were counted over those that take part; standard deviations
COLUMN_DRAWS, MOST_COLUMN_CELLS = 20_000, 2**24  # draws by which columns are held against their counts
TONE_DRAWS, FEATURE_DRAWS = 2048, 1024  # of all classes
TILT_DRAWS, LEAST_OF_CLASS, MOST_OF_CLASS = 40_960, 1024, 8192  # over all classes, and of each
MEAN_SIZE = 0.8  # of a normal number of variance 1
LARGEST_TEXTURE = 3.0  # of an image, in expected ones
FINISHED_OF_CLASS, FINISHED_AT_ONCE = 2048, 128  # that are made records; so many fit a processor's cache


def with_gains(mixture, stage, space):
    """The mixture, its texture as strong as the records' is where they are as steep as a draw; as it is without any."""
    if not mixture.texture.any():
        return mixture
    mechanism, random, count = stage.mechanism, stage.random, float(stage.counts.sum())
    particles = Particles.of(mixture, space, stage.form).with_even_texture(random)
    texture = particles.texture
    white = normal((64, len(space.centre)), random, space.centre)
    level = float(texture.coloured(white, mixture.spectrum).square().mean().sqrt())
    strength = MEAN_SIZE * level * particles.mixture.texture
    smooth = replace(mixture, texture=torch.zeros_like(mixture.texture))
    draws = Particles.of(smooth, space, stage.form).draw(_draw_labels(mixture, TONE_DRAWS, random), random)
    own = texture.by_steepness(draws, space, strength)[0].double().mean(0).cpu()
    if not own.any():  # as weak as nothing: there is no curve of it
        return mixture
    query = GainQuery(texture, space, strength, LARGEST_TEXTURE * float(own.sum()))
    expected, true = mechanism.release("texture", query, stage.source) / count
    noise = mechanism.noise_multiplier("texture") * query.sensitivity * query.largest / count
    curved = replace(mixture, gains=sent(texture.fit_gains(expected, true, own, noise), stage.device))
    return Particles.of(curved, space, stage.form).with_even_texture(random).mixture


def with_tones(mixture, stage, space):
    """The mixture with curves that take its draws to the records' tones."""
    form, mechanism, random = stage.form, stage.mechanism, stage.random
    tones, count = form.tones(), float(stage.counts.sum())
    query = ToneQuery(tones)
    frequencies = mechanism.release("tones", query, stage.source) / count
    draws = Particles.of(mixture, space, form).draw(_draw_labels(mixture, TONE_DRAWS, random), random)
    noise = mechanism.noise_multiplier("tones") * query.sensitivity / count
    return replace(mixture, tones=tones.fit_curves(frequencies, draws, noise))


def with_columns(mixture, stage, space):
    """The mixture with curves that take each column of its draws to where its numbers were counted; at no cost."""
    form, random, total = stage.form, stage.random, float(stage.counts.sum())
    # Records whose labels are none of the classes were counted, too, and take no part.
    counted = {j: of for j, of in stage.counted.items() if of.n_counted <= LEFT_OUT * total + SURE * of.noise_of_all}
    if not counted:
        return mixture
    n = max(2, min(COLUMN_DRAWS, MOST_COLUMN_CELLS // form.n_encoded))
    draws = Particles.of(mixture, space, form).draw(_draw_labels(mixture, n, random), random).cpu()
    return replace(mixture, columns=sent(fit_columns(draws, form.bounds, counted), stage.device))


def with_tilts(mixture, stage, space):
    """The mixture, its draws tilted towards the mean features of each class's records where that changes them."""
    counts, mechanism, random = stage.counts, stage.mechanism, stage.random
    particles, n_classes = Particles.of(mixture, space, stage.form), len(counts)
    labels = _draw_labels(mixture, FEATURE_DRAWS, random)
    features = make_features(mixture.draw(labels, random), random)
    query = FeatureQuery(features, n_classes, partial(_coordinates, space))
    means = mechanism.release("features", query, stage.source) / counts[:, None]
    noise = mechanism.noise_multiplier("features") * query.sensitivity / counts
    n = FINISHED_OF_CLASS + min(MOST_OF_CLASS, max(LEAST_OF_CLASS, TILT_DRAWS // n_classes))
    size = FINISHED_AT_ONCE if mixture.points.device.type == "cpu" else FINISHED_OF_CLASS
    finish, chance, tilts = particles.finishing(), particles.chance(FINISHED_OF_CLASS, random), []
    for c, draws in enumerate(mixture.draws_of_classes(n, random)):
        # What is chosen among are coordinates, which cost little. How finished records' features differ from theirs is
        # taken for the same whatever is chosen, so that few have to be finished.
        drawn, labels, offs = features(draws), torch.full((size,), c, device=draws.device), []
        for rows in (slice(start, start + size) for start in range(0, FINISHED_OF_CLASS, size)):
            finished = finish(draws[rows], labels, chance.take(rows))
            offs.append(features(space.project(finished)) - drawn[rows])
        off = torch.cat(offs).mean(0)
        count = 1 / (1 / float(counts[c]) + 1 / FINISHED_OF_CLASS)
        tilts.append(fit_tilt(means[c] - off.cpu(), drawn, float(noise[c]), count))
    if float(torch.stack([tilt.effective_share for tilt in tilts]).min()) > LARGEST_SHARE:
        return mixture
    weights = torch.stack([tilt.weights for tilt in tilts])
    return replace(mixture, waves=features.waves, tilts=sent(weights, stage.device))


def _coordinates(space, records):
    return space.project(records.values)


def _draw_labels(mixture, n, random):
    return torch.multinomial(mixture.class_weights.cpu(), n, replacement=True, generator=random)
