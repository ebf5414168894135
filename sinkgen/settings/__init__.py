"""Settings of the mechanisms: what a fit may be told beyond its budget; public, fixed before the first release."""

from dataclasses import replace
from typing import Any

from sinkgen._validation import check_choice
from sinkgen.exceptions import BadValueError
from sinkgen.settings.base import Settings, is_auto
from sinkgen.settings.batch import Batch
from sinkgen.settings.marginals import Marginals
from sinkgen.settings.semidual import Semidual

SETTINGS: dict[str, Any] = {kind.name: kind for kind in (Semidual, Batch, Marginals)}


def mechanism_of(mechanism):
    """The name of a mechanism that is given by name or by its settings.

    Examples
    --------
    >>> mechanism_of("auto"), mechanism_of(Batch())
    ('auto', 'batch')
    """
    return mechanism.name if isinstance(mechanism, Settings) else mechanism


def to_json(mechanism):
    """A mechanism as JSON holds it: its name, or a dict of that and its settings.

    Examples
    --------
    >>> to_json("batch"), to_json(Marginals(members=3))["members"]
    ('batch', 3)
    """
    if isinstance(mechanism, dict):  # weights: JSON has no keys but texts
        return [[list(key) if isinstance(key, tuple) else key, value] for key, value in mechanism.items()]
    if not isinstance(mechanism, Settings):
        return mechanism
    return {"name": mechanism.name} | {name: to_json(value) for name, value in mechanism.get_params().items()}


def from_json(content):
    """The mechanism that :func:`to_json` wrote.

    Raises
    ------
    TypeError, ValueError
        If it is none.

    Examples
    --------
    >>> from_json(to_json(Semidual(steps=4))) == Semidual(steps=4)
    True
    """
    if not isinstance(content, dict):
        return content
    given = {name: _from_json(name, value) for name, value in content.items()}
    return changed(given.pop("name", None), given)


def _from_json(name, value):
    if not isinstance(value, list):
        return from_json(value)
    if name != "weight":
        return tuple(value)
    try:
        return {tuple(key) if isinstance(key, list) else key: number for key, number in value}
    except (TypeError, ValueError):
        raise BadValueError("weight must be a list of pairs of names and numbers") from None


def changed(mechanism, given):
    """The settings of a mechanism with some of them changed, for what scikit-learn calls nested parameters.

    Parameters
    ----------
    mechanism : str or Settings
    given : dict
        Settings by name.

    Raises
    ------
    ValueError
        If it has no such setting, or ``mechanism`` is "auto".

    Examples
    --------
    >>> changed("batch", {"points": 50}).points
    50
    """
    if not isinstance(mechanism, Settings):
        if is_auto(mechanism):
            raise BadValueError(f"mechanism='auto' has no settings: name one of {', '.join(SETTINGS)}")
        mechanism = SETTINGS[check_choice("mechanism", mechanism, list(SETTINGS))]()
    known = list(mechanism.get_params())
    for name in given:
        if name not in known:
            raise BadValueError(f"{type(mechanism).__name__} has no setting {name!r}; it has {', '.join(known)}")
    return replace(mechanism, **given)
