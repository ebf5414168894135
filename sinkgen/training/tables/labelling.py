"""What the label of a record follows from: public, a step between the mixture that was fitted and its draws."""

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_softmax

from sinkgen.privacy.queries.tables import LabelGainQuery

# Constants chosen by trials: docs/experiments.md, Tables.
RECORDS_PER_STATE = 60
MOST_RECORDS = 20_000
POOLS = (0.25, 0.5, 1.0)
RIDGE = 2e-5
STEPS = 60


def learn_labelling(mixture, share, random):
    """The same mixture, with labels drawn by an additive model of their log-probabilities.

    A mixture that agrees with noisy two-way marginals knows little of how many columns together tell the class: its own
    probabilities are those of whichever component is nearest. A sum over columns with the same marginals knows more,
    except for interactions. So log-probabilities are ``share`` of the mixture's own plus a sum over columns: the one of
    greatest likelihood, with a ridge, among records of the mixture. Labels keep the mixture's one-way marginals within
    classes. This distils what was released; no record is at hand.

    Parameters
    ----------
    mixture : ProductMixture
    share : float
    random : torch.Generator

    Returns
    -------
    ProductMixture
    """
    n_states, n_classes = mixture.n_states, len(mixture.class_weights)
    if n_classes == 1:
        return mixture
    n = min(RECORDS_PER_STATE * n_states, MOST_RECORDS)
    codes = mixture.draw_states(n, random)
    own = mixture.class_logits(codes)[0].numpy()
    numbers = mixture.state_numbers(codes).numpy()
    rows = csr_array((np.ones(numbers.size), numbers.ravel(), np.arange(n + 1) * numbers.shape[1]), (n, n_states))
    wanted = np.exp(own)

    def loss(flat):
        parameters = flat.reshape(n_states, n_classes)
        log_probabilities = log_softmax(share * own + rows @ parameters, axis=1)
        gradient = rows.T @ (np.exp(log_probabilities) - wanted) / n + RIDGE * parameters
        return 0.5 * RIDGE * (flat @ flat) - (wanted * log_probabilities).sum() / n, gradient.ravel()

    found = minimize(loss, np.zeros(n_states * n_classes), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return mixture.with_labelling(torch.from_numpy(found.x.reshape(n_states, n_classes)), share)


def pool_labelling(mixture, source, mechanism):
    """Release how well the labels' model fits beside pools of it with the mixture's own, and take what fits best.

    Where columns tell the class together alone, a sum over columns is poor. The additive model stays unless a pool is
    better beyond the noise.

    Parameters
    ----------
    mixture : ProductMixture
        As :func:`learn_labelling` gives it.
    source : RecordSource
        Codes (m, n_columns) with classes.
    mechanism : GaussianMechanism
        Charged with "labelling".

    Returns
    -------
    ProductMixture
    """
    if len(mixture.class_weights) == 1:
        return mixture
    query = LabelGainQuery(mixture, POOLS)
    gains = mechanism.release("labelling", query, source)
    best = int(gains.argmax())
    noise = mechanism.noise_multiplier("labelling") * query.sensitivity
    return mixture.pooled(POOLS[best]) if gains[best] > 2 * noise else mixture
