"""Questions as public data: a query, and what records go through before it, by names and arguments; never code.

Who reads a question makes its objects by their own constructors, so that a query's sensitivity is what is proven of it
here, whatever came with the message. What is not listed here cannot be asked.
"""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from sinkgen.data.formats import FORMATS, format_from_dict
from sinkgen.data.labels import LabelSet
from sinkgen.data.table import COLUMN_TYPES, TableFormat
from sinkgen.exceptions import BadValueError
from sinkgen.fitting import Encoder
from sinkgen.generators.cliques import Clique
from sinkgen.generators.product import ProductMixture
from sinkgen.generators.space import Space
from sinkgen.generators.tilt import Features
from sinkgen.images.texture import Texture
from sinkgen.images.tones import Tones
from sinkgen.ot.costs import L1Cost, MixedCost, SquaredEuclideanCost
from sinkgen.privacy.queries import moments, tables, transport
from sinkgen.privacy.query import SumQuery
from sinkgen.training import numbers, undeclared
from sinkgen.training.points import corrections, semidual, variation, views
from sinkgen.training.tables import cells, coupling, tabular

QUERIES = {
    query.__name__: query
    for query in (
        moments.CountQuery, moments.FeatureQuery, moments.GainQuery, moments.MeanQuery, moments.MomentQuery,
        moments.NormQuery, moments.RadiusQuery, moments.ScaleQuery, moments.ToneQuery, tables.CliqueQuery,
        tables.JointQuery, tables.LabelGainQuery, tables.MarginalQuery, tables.PairQuery, tables.ParityQuery,
        tables.GroupedPairQuery, tables.ServiceQuery, tables.SomeColumnsQuery, transport.TransportQuery,
    )
}  # fmt: skip
# What else a question may hold, and what each is made with.
OBJECTS: dict[type, Callable[[Any], tuple]] = {
    **dict.fromkeys((Clique, Features, Space, variation.FittedWarps, variation.Seen), tuple),
    **dict.fromkeys((SquaredEuclideanCost, L1Cost), lambda _: ()),
    MixedCost: lambda cost: (cost.l1_weight,),
    Texture: lambda texture: (texture.image_shape,),
    Tones: lambda tones: (tones.image_shape,),
    LabelSet: lambda labels: (labels.classes, labels.dtype),
    Encoder: lambda encoder: (encoder.form, encoder.labels),
    variation.Offsets: lambda own: (own.points, own.classes, own.seen, own.potentials, own.space),
}
CLASSES = {kind.__name__: kind for kind in OBJECTS} | {"Encoder": partial(Encoder, device=torch.device("cpu"))}
FUNCTIONS = {
    f"{function.__module__}.{function.__qualname__}": function
    for function in (
        cells._take_columns, corrections._coordinates, coupling._scored, numbers._codes, semidual._measured,
        semidual._measured_by_class, tabular._as_states, undeclared._coded, undeclared._extremes, undeclared._numbers,
        undeclared._outside, variation._amounts, variation._explained, variation._remainders, variation._scaled,
        variation._served,
        views._as_encoded,
    )
}  # fmt: skip
METHODS = {(Space, "project")}
DEEPEST = 20


class Question(NamedTuple):
    """What is asked of all records: a query, of what ``functions``, one after the other, make of them."""

    functions: tuple
    query: SumQuery


def to_parts(value: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """A value as JSON, and the arrays that it refers to by their names.

    Raises
    ------
    ValueError
        If it holds something that cannot be sent.

    Examples
    --------
    >>> to_parts((1.5, torch.ones(2)))[0]
    {'tuple': [1.5, {'tensor': '0'}]}
    """
    arrays: dict[str, np.ndarray] = {}
    return _to_json(value, arrays), arrays


def _to_json(value, arrays):
    own = partial(_to_json, arrays=arrays)
    if value is None or isinstance(value, (bool, str)) or type(value) in (int, float):
        return value
    if type(value) in OBJECTS:
        return {"object": type(value).__name__, "with": [own(part) for part in OBJECTS[type(value)](value)]}
    if type(value) in QUERIES.values():
        args, kwargs = value.asked
        return {"query": type(value).__name__, "with": own(list(args)), "with names": own(kwargs)}
    if type(value) in (tuple, list):
        items = [own(part) for part in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {key: own(part) for key, part in value.items()}}
    if isinstance(value, (torch.Tensor, np.ndarray)):
        name = str(len(arrays))
        arrays[name] = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        return {"tensor" if isinstance(value, torch.Tensor) else "array": name}
    if isinstance(value, np.generic):
        return own(value.item())
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if type(value) in (*FORMATS.values(), TableFormat):
        return {"form": _plain(value.to_dict())}
    if type(value) in COLUMN_TYPES.values():
        return {"column": _plain(TableFormat((value,)).to_dict())}
    if isinstance(value, ProductMixture):
        return {"mixture": {key: own(part) for key, part in value.state_dict().items()}}
    if isinstance(value, partial) and not value.keywords:
        return {"partial": own(value.func), "with": [own(part) for part in value.args]}
    if (type(getattr(value, "__self__", None)), getattr(value, "__name__", None)) in METHODS:
        return {"method": value.__name__, "of": own(value.__self__)}
    name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
    if FUNCTIONS.get(name) is value:
        return {"function": name}
    raise BadValueError(f"{type(value).__name__} cannot be asked of owners: it is no part of a question")


def _plain(value):
    """With lists for tuples, and numbers of Python, as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def from_parts(content: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The value that :func:`to_parts` took apart; ValueError if it is none."""
    try:
        return _from_json(content, arrays, DEEPEST)
    except BadValueError:
        raise
    except Exception as error:  # of whatever constructor
        raise BadValueError(f"a question cannot be read: {type(error).__name__}") from None


def identity(content: Any, arrays: dict[str, np.ndarray]) -> str:
    """What tells a value that was taken apart from any other."""
    return hashlib.sha256(json.dumps(_with_digests(content, arrays)).encode()).hexdigest()


def _with_digests(content, arrays):
    if isinstance(content, list):
        return [_with_digests(part, arrays) for part in content]
    if not isinstance(content, dict):
        return content
    for kind in ("tensor", "array"):
        if set(content) == {kind}:
            array = arrays[content[kind]]
            return [kind, str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()]
    return {key: _with_digests(part, arrays) for key, part in content.items()}


def _from_json(content, arrays, depth):
    if not depth:
        raise BadValueError("a question is nested too deeply")
    own = partial(_from_json, arrays=arrays, depth=depth - 1)
    if isinstance(content, list):
        return [own(part) for part in content]
    if not isinstance(content, dict):
        return content
    kind = next(iter(content))
    if kind == "tuple":
        return tuple(own(part) for part in content["tuple"])
    if kind == "dict":
        return {key: own(part) for key, part in content["dict"].items()}
    if kind == "tensor":
        return torch.from_numpy(arrays[content["tensor"]].copy())
    if kind == "array":
        return arrays[content["array"]]
    if kind == "slice":
        return slice(*content["slice"])
    if kind == "object":
        return CLASSES[content["object"]](*map(own, content["with"]))
    if kind == "query":
        return QUERIES[content["query"]](*own(content["with"]), **own(content["with names"]))
    if kind == "form":
        read = TableFormat.from_dict if content["form"]["kind"] == TableFormat.__name__ else format_from_dict
        return read(content["form"])
    if kind == "column":
        return TableFormat.from_dict(content["column"]).columns[0]
    if kind == "mixture":
        parts = {key: own(part) for key, part in content["mixture"].items()}
        return ProductMixture(**parts | {"widths": parts["widths"].tolist()})
    if kind == "partial":
        return partial(own(content["partial"]), *map(own, content["with"]))
    if kind == "method":
        made = own(content["of"])
        if (type(made), content["method"]) not in METHODS:
            raise BadValueError("a question names a method that it may not")
        return getattr(made, content["method"])
    if kind == "function":
        return FUNCTIONS[content["function"]]
    raise BadValueError("a question holds what no question may")
