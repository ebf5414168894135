"""Faults times places times sources: each is refused for free and in silence, or fitted, drawn and saved.

Where ``test_malformed_input.py`` knows what must be refused, here is the product, and either end is right. Wrong is
all between: a charge and nothing to show for it, an error of another library's, or a cell in a message.
"""

import datetime
import decimal
import fractions
import itertools
import traceback
import warnings
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from limits import time_limit

from sinkgen import Batch, Column, DPSinkhornGenerator, Marginals, PrivacyLedger, Semidual
from sinkgen.exceptions import DataFreeError, PoorFitWarning, PrivacyLeakWarning, ReproducibleNoiseWarning
from sinkgen.sources import chunks

pytestmark = pytest.mark.usefixtures("quick_tables")

NUMBER = 31415 + 0.9265
WORD = "".join(reversed("eulb-narretlaw"))  # not in any line of source that a traceback could show
SECRETS = ("31415", WORD)
N = 24
PLACES = (0, N // 2, N - 1)


class Odd:
    """An object that answers no question."""

    def __repr__(self):
        return WORD

    def __eq__(self, other):
        raise LookupError(WORD)

    __hash__ = None


# --- One cell, in each source ----------------------------------------------------------------------------------------

CELLS = {
    "nan": np.nan, "inf": np.inf, "minus inf": -np.inf, "None": None, "missing": pd.NA, "no time": pd.NaT,
    "a word": WORD, "an empty word": "", "a null character": WORD + "\0", "half a character": WORD + "\ud800",
    "bytes": WORD.encode(), "True": True, "complex": NUMBER + 1j, "a huge integer": 31415 * 10**400,
    "a large integer": 31415 * 10**20, "the largest number": np.finfo(float).max, "the smallest number": 5e-324,
    "half precision": np.float16(3.5), "an unsigned integer": np.uint64(2**64 - 1),
    "a fraction": fractions.Fraction(1, 3),
    "a decimal": decimal.Decimal("31415.9265"), "a decimal that is none": decimal.Decimal("NaN"),
    "a date": datetime.date(2020, 1, 1), "a year beyond": datetime.datetime(9999, 12, 31),
    "a time": pd.Timestamp("2020-03-29", tz="Europe/Paris"), "a duration": pd.Timedelta("31415s"),
    "a numpy date": np.datetime64("2020-01-01"), "a list": [NUMBER], "a tuple": (WORD, 1), "a dict": {WORD: NUMBER},
    "a set": {WORD}, "an array": np.array([NUMBER, 2.0]), "an array of one": np.array([NUMBER]), "an object": Odd(),
    "a function": len, "an interval": pd.Interval(0, 31415),
}  # fmt: skip


def with_cell(values, cell, place):
    """A list with one other cell; that of an array of one dimension stays one cell."""
    return [*values[:place], cell, *values[place + 1 :]]


def rows(cell, place):
    """Records as lists, of which one cell is another, and one holds a secret."""
    records = [[i / N, (i % 5) / 5, 0.5] for i in range(N)]
    records[3][2] = NUMBER
    records[place][1] = cell
    return records


def boxed(values):
    """A one-dimensional array of objects, also of objects that are sequences."""
    array = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def object_array(cell, place):
    records = rows(cell, place)
    return boxed([cell for record in records for cell in record]).reshape(N, 3)


def frame(**columns):
    """A table of columns of each kind; two cells are secret."""
    return pd.DataFrame({
        "amount": with_cell([i / N for i in range(N)], NUMBER, 3),
        "who": with_cell(["a", "b"] * (N // 2), WORD, 5),
        "day": pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(range(N), unit="D")),
        "yes": [True, False] * (N // 2),
    } | columns)  # fmt: skip


def object_column(values):
    return lambda cell, place: pd.Series(boxed(with_cell(values, cell, place)), dtype=object)


NUMERIC, TEXT = [i % 7 for i in range(N)], ["x", "y", "z"] * (N // 3)
WRITTEN, DATES = [f"{i},5" for i in range(N)], [f"{i + 1:02}.01.2020" for i in range(N)]
COLUMNS = {
    "numbers": (NUMERIC, None),
    "bounded numbers": (NUMERIC, (0, 6)),
    "integers": (NUMERIC, Column("integer", bounds=(0, 6), nullable=True)),
    "texts": (TEXT, None),
    "declared texts": (TEXT, ["x", "y", "z"]),
    "declared codes": (NUMERIC, [0, 1, 2]),
    "an order": (TEXT, Column("ordinal", values=["x", "y", "z"], nullable=True)),
    "truth": ([True, False] * (N // 2), Column("boolean")),
    "written numbers": (WRITTEN, Column(decimal=",")),
    "written dates": (DATES, Column(format="%d.%m.%Y", nullable=True)),
}
FEW = Semidual(steps=2)


def cell_cases():
    for fault, cell in CELLS.items():
        yield f"{fault}, lists", lambda place, cell=cell: ((rows(cell, place), None), {})
        yield f"{fault}, objects", lambda place, cell=cell: ((object_array(cell, place), None), {"schema": (0, 1)})
        yield f"{fault}, chunks", lambda place, cell=cell: (
            (chunks(lambda: iter(np.array_split(object_array(cell, place), 2))), None), {"schema": (0, 1)}
        )  # fmt: skip
        yield f"{fault}, labels", lambda place, cell=cell: (
            (rows(0.5, 0), with_cell([0, 1] * (N // 2), cell, place)), {"schema": (0, 1)}
        )  # fmt: skip
        yield f"{fault}, declared labels", lambda place, cell=cell: (
            (frame(), boxed(with_cell(["p", "q"] * (N // 2), cell, place))), {"classes": ["p", "q"]}
        )  # fmt: skip
        yield f"{fault}, groups", lambda place, cell=cell: (
            (rows(0.5, 0), None, boxed(with_cell([f"g{i % 4}" for i in range(N)], cell, place))), {"schema": (0, 1)}
        )  # fmt: skip
    for (fault, cell), (kind, (values, declared)) in itertools.product(CELLS.items(), COLUMNS.items()):
        yield f"{fault}, a column of {kind}", lambda place, cell=cell, values=values, declared=declared: (
            (frame(odd=object_column(values)(cell, place)), None), {"schema": declared and {"odd": declared}}
        )  # fmt: skip


# --- Shapes and dtypes of arrays -------------------------------------------------------------------------------------

DTYPES = ["?", "i1", "u1", "i2", ">i4", "u8", "f2", ">f4", "f8", "g", "F", "D", "O", "U5", "S5", "M8[D]", "m8[s]", "V8"]
ARRAY_SHAPES = [(0,), (N,), (0, 3), (1, 1), (N, 0), (N, 1), (N, 3, 3), (N, 1, 5), (N, 3, 3, 1), (N, 2, 2, 2), (0, 3, 3),
                (2, 2, 2, 2, 2)]  # fmt: skip


def array(dtype, shape):
    values = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 2
    return np.zeros(shape, dtype) if dtype == "V8" else values.astype(dtype)


def array_cases():
    for dtype, shape in itertools.product(DTYPES, ARRAY_SHAPES):
        yield f"an array of {dtype} and shape {shape}", lambda _, made=(dtype, shape): ((array(*made), None), {})


# --- Labels and groups of another length, form or kind ---------------------------------------------------------------

BESIDE = {
    "none": [], "one too few": [0] * (N - 1), "one too many": ["a"] * (N + 1), "a scalar": 3, "a word": "lacking",
    "one column": np.zeros((N, 1), int), "two columns": np.full((N, 2), 31415), "no dimension": np.array(1),
    "a table": pd.DataFrame({"a": [1] * N, "b": 2}), "a table of one column": pd.DataFrame({"a": [1] * N}),
    "a series of another index": pd.Series([1, 2] * (N // 2), index=range(100, 100 + N)),
    "a categorical": pd.Categorical(["a", "b"] * (N // 2), categories=["a", "b", "c"]),
    "a categorical with gaps": pd.Categorical(["a", None] * (N // 2)),
    "fractions": np.full(N, NUMBER), "whole floats": np.ones(N), "huge integers": np.full(N, 2**63, dtype=np.uint64),
    "durations": np.full(N, 31415, "m8[s]"), "bytes": np.full(N, WORD.encode()), "complex": np.full(N, NUMBER + 1j),
    "a tensor": torch.ones(N, dtype=torch.int64), "a tensor of fractions": torch.full((N,), NUMBER),
    "a set": set(range(N)), "a dict": dict.fromkeys(range(N), WORD), "a range": range(N),
    "a zip": zip(TEXT, TEXT, strict=True),
    "one alone": [1] * N, "all others": [f"{WORD}{i}" for i in range(N)], "truths": [True, False] * (N // 2),
    "an index": pd.Index(["a", "b"] * (N // 2)),
    "masked": np.ma.masked_array(np.ones(N, int), [True] + [False] * (N - 1)),
    "periods": pd.period_range("2020", periods=N, freq="D"), "ragged": [[1], [1, 2]] * (N // 2), "Odd": [Odd()] * N,
}  # fmt: skip
RECORDS = {
    "an array": lambda: (np.array(rows(0.5, 0)), {"schema": (0, 1)}),
    "a table": lambda: (frame(), {}),
    "images": lambda: (np.zeros((N, 3, 3)), {"schema": (0, 1)}),
}


def beside_cases():
    for (name, make), (fault, value) in itertools.product(RECORDS.items(), BESIDE.items()):
        yield f"labels of {name}: {fault}", lambda _, make=make, value=value: ((make()[0], value), make()[1])
        yield f"groups of {name}: {fault}", lambda _, make=make, value=value: ((make()[0], None, value), make()[1])


# --- Names of columns ------------------------------------------------------------------------------------------------

NAMES = {
    "repeated": "aabc", "one of many letters": ["a" * 10_000, "b", "c", "d"], "empty": ["", "b", "c", "d"],
    "None": [None, "b", "c", "d"], "nan": [np.nan, "b", "c", "d"], "integers": range(4), "mixed": [0, "0", 0.5, "x"],
    "truth and one": [True, "1", "true", "b"], "tuples": [(1, 2), (1, 3), (2, 2), "a"], "bytes": [b"a", "a", "b", "c"],
    "levels": pd.MultiIndex.from_product([["a", "b"], [1, 2]]), "dates": pd.date_range("2020", periods=4),
    "half a character": ["\ud800", "b", "c", "d"], "a null character": ["a\0", "a", "b", "c"],
    "blanks": [" ", "  ", "\n", "\t"], "intervals": pd.interval_range(0, 4),
    "categories": pd.CategoricalIndex(list("abcd")),
    "as pandas names none": ["Unnamed: 0", "b", "c", "d"], "as labels are called": ["label", "y", "X", "groups"],
}  # fmt: skip


def name_cases():
    declared = {"none": None, "an array's": (0, 1), "a number's": {0: (0, 1)}, "a text's": {"b": ["a", "b"]}}
    for (name, names), (what, schema), y in itertools.product(NAMES.items(), declared.items(), (None, "b")):
        columns = names if isinstance(names, pd.Index) else list(names)
        yield f"names: {name}; a schema of {what}; labels {y}", lambda _, made=(columns, schema, y): (
            (frame().set_axis(made[0], axis=1), made[2]), {"schema": made[1]}
        )  # fmt: skip


# --- Schemas of columns of each kind ---------------------------------------------------------------------------------

DECLARED = {
    "bounds": (0, 1), "reversed": (1, 0), "equal": (2, 2), "of nan": (np.nan, 1), "of inf": (0, np.inf),
    "none": (None, None),
    "huge": (-1.7e308, 1.7e308), "tiny": (0, 5e-324), "of integers beyond": (0, 10**400), "three": (0, 1, 2),
    "empty": (),
    "of words": ("x", "y"), "of dates": ("2020-01-01", "2021-01-01"), "dates reversed": ("2021-01-01", "2020-01-01"),
    "of dates beyond": ("0001-01-01", "9999-12-31"), "of truth": (False, True), "a list of one": ["a"],
    "an empty list": [],
    "of many": [f"v{i}" for i in range(3000)], "of lists": [[1], [2]], "of mixed": ["a", 1, None],
    "of gaps": [None, np.nan],
    "a word": "float", "a number": 7, "an object": Odd(), "a dict": {"kind": "category"}, "a dict of junk": {"junk": 1},
    "an unknown kind": {"kind": "junk"}, "a column": Column(), "gaps": Column(nullable=True), "float": Column("float"),
    "integer": Column("integer"), "datetime": Column("datetime"), "boolean": Column("boolean"),
    "category": Column("category"), "written": Column(decimal=","), "a form": Column(format="%d"),
    "edges": Column(edges=(0, 0.5, 1)), "a large step": Column(bounds=(0, 1), step=1e6),
    "a small step": {"step": 1e-300},
    "many atoms": Column(bounds=(0, 1), atoms=tuple(range(200))),
}  # fmt: skip


def schema_cases():
    for (what, declared), name in itertools.product(DECLARED.items(), ("amount", "who", "day", "yes", "lacking")):
        yield f"{name} declared as {what}", lambda _, made=(name, declared): ((frame(), None), {"schema": dict([made])})


# --- Settings, and what the user gives as code -----------------------------------------------------------------------


class Wrong(torch.nn.Module):
    """A feature map, or a network, of a fault of its own."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def forward(self, *inputs):
        return self.fault(*inputs)


def raises(*_, **__):
    raise KeyError("the user's own")


CODE = {
    "raises": raises, "gives None": lambda *_: None, "gives its input": lambda x, *_: x,
    "gives nan": lambda x, *_: x * np.nan,
    "gives no rows": lambda x, *_: x[:0], "gives one row": lambda x, *_: x[:1], "gives a sum": lambda x, *_: x.sum(),
    "gives doubles": lambda x, *_: x.double(), "gives integers": lambda x, *_: x.long(),
    "gives a list": lambda x, *_: [1],
    "gives numpy": lambda x, *_: x.detach().numpy(), "wants nothing": lambda: None,
    "gives a network": lambda *_: Wrong(raises),
    "gives a network of nan": lambda latent_dim, shape, n: Wrong(lambda z, y: torch.full((len(z), *shape), torch.nan)),
    "gives a network of one": lambda latent_dim, shape, n: Wrong(lambda z, y: torch.zeros(1, 1)),
}  # fmt: skip
JUNK = [None, "junk", "", 0, -1, np.nan, np.inf, 10**400, 1j, [], (1, 2), {}, True, Odd(), np.ones(3)]
OTHERS = {
    "generator": ["gan", "conv", "dcgan", torch.nn.Linear, torch.nn.Linear(2, 2)],
    "cost": ["l2", "cosine", torch.nn.Identity, torch.nn.Identity(), np.linalg.norm],
    "backend": ["pot", "jax", "Torch", torch],
    "device": ["cuda", "cuda:99", "mps", "meta", "xpu", "cpu:7", torch.device("cpu")],
    "image_shape": [(3, 1), (1, 3), (2, 2), (3,), (1, 1, 3), (0, 3), (-1, -3), (1.0, 3.0), "1x3", 3, (np.nan, 3)],
    "classes": [[0], [1, 0], [0, 0], [2, 3], ["0", "1"], [0.0, 1.0], [True, False], range(300), {0, 1}, "01", [None]],
    "epsilon": [1e-12, 1e12, 5e-324, "1", np.float32(1), np.array(1.0)], "delta": [0.0, 1.0, 1e-300, 0.5, "1e-5"],
    "max_rows_per_group": [1, 3, 0, 2.5], "augment": ["affine", "flip", None],
    "metadata": ["trust", "require", "Learn"],
    "mechanism": ["marginals", "semidual", Semidual, Batch, Marginals(steps=2), "auto "],
}  # fmt: skip


def setting_cases():
    for parameter, value in ((name, value) for name, values in OTHERS.items() for value in values):
        for what, y in (("", None), (", with labels", [0, 1] * (N // 2))):
            yield f"{parameter}={short(value)}{what}", lambda _, made=(parameter, value, y): (
                (np.array(rows(0.5, 0)), made[2]), {"schema": (0, 1), made[0]: made[1]}
            )  # fmt: skip
    for (fault, code), parameter in itertools.product(CODE.items(), ("generator", "cost", "augment", "callback")):
        given = Wrong(code) if parameter == "cost" else code
        yield f"{parameter} that {fault}", lambda _, made=(parameter, given): (
            (np.zeros((N, 2, 2)), None), {"schema": (0, 1), made[0]: made[1]}
        )  # fmt: skip
    for kind, junk in itertools.product((Semidual, Batch, Marginals), JUNK):
        for name in kind().get_params():
            yield f"{kind.__name__}({name}={short(junk)})", lambda _, made=(kind, name, junk): (
                (frame() if made[0] is Marginals else np.array(rows(0.5, 0)), None),
                {"mechanism": made[0](**({} if made[0] is Marginals else {"steps": 2}) | {made[1]: made[2]})},
            )  # fmt: skip


def short(value):
    """A name that is the same in each process: none holds an address."""
    return type(value).__name__ if isinstance(value, Odd) else getattr(value, "__name__", str(value))[:30]


PARTS = [cell_cases, array_cases, beside_cases, name_cases, schema_cases, setting_cases]
CASES = {name: make for part in PARTS for name, make in part()}


# What once failed is always tried, and a part of the others; all of them are with `make slow`.
FAILED = (
    "that gives",
    "huge integer",
    "complex, a column",
    "written dates",
    "as category",
    "small step",
    "(mo",
    "=1000",
)
QUICK = {name for name in CASES if zlib.crc32(name.encode()) % 4 == 0 or any(part in name for part in FAILED)}


def test_there_are_enough():
    assert len(CASES) >= 2000
    assert len(QUICK) >= 500


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name) for name in CASES]
)
def test_it_is_refused_for_free_and_in_silence_or_works(name, tmp_path):
    ledger = PrivacyLedger()
    place = PLACES[sum(map(ord, name)) % len(PLACES)]
    with warnings.catch_warnings(record=True) as told, time_limit(20):
        warnings.simplefilter("error")
        for category in (PoorFitWarning, PrivacyLeakWarning, ReproducibleNoiseWarning):
            warnings.simplefilter("always", category)
        warnings.filterwarnings("always", "callback raised")
        try:
            data, settings = CASES[name](place)
            settings = {"mechanism": FEW if arrays(data[0], settings) else "auto", **settings}
            gen = DPSinkhornGenerator(**{"epsilon": 5, "ledger": ledger, "noise_seed": 0, "random_state": 0} | settings)
            gen.fit(*data)
        except Exception as error:
            assert_refused(error, ledger)
        else:
            assert len(ledger) == 1
            gen.sample(3)
            gen.save(tmp_path / "model")
            own = {"augment": gen.augment} if callable(gen.augment) else {}
            DPSinkhornGenerator.load(tmp_path / "model", **own).sample(2)
    assert not [warning for warning in told if any(secret in str(warning.message) for secret in SECRETS)]


def arrays(X, settings):
    return not isinstance(X, pd.DataFrame) or isinstance(settings.get("schema"), tuple)


def assert_refused(error, ledger):
    assert not len(ledger)
    assert isinstance(error, (TypeError, ValueError, DataFreeError)), repr(error)
    assert str(error)
    shown = "".join(traceback.format_exception(error))
    assert not any(secret in shown for secret in SECRETS)
