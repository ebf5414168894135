"""Nothing fails after the charge that could have failed before, and a fit goes on with its own records alone."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sinkgen import Column, DPSinkhornGenerator, PrivacyLedger, TSTRClassifier
from sinkgen.records import CHUNK, ArraySource, ChunkedSource, Records
from sinkgen.sources.open import fingerprint

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.arange(60) % 3
FRAME = pd.DataFrame({"amount": X[:, 0], "kind": pd.Series([1, 2, 3] * 20, dtype=object), "n": Y, "t": ["a", "b"] * 30})


class Map(torch.nn.Module):
    """A feature map that is none."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


MAPS = {
    "fewer rows": lambda x: x[:-1],
    "more rows": lambda x: torch.cat([x, x]),
    "no columns of its own": lambda x: x[:, 0],
    "three dimensions": lambda x: x[:, :, None],
    "nan": lambda x: x * torch.nan,
    "infinity": lambda x: x / 0,
    "whole numbers": lambda x: x.long(),
    "means of the batch": lambda x: x - x.mean(0),
    "another width": torch.nn.Linear(5, 2).requires_grad_(False),
    "an error": lambda x: x.nothing,
    "a tuple": lambda x: (x, x),
    "None": lambda x: None,
}
DEVICES = ["cuda", "cuda:99", "mps", "meta", "xpu", "xla", "vulkan", "hpu"]
SCHEMAS = {
    "text of numbers": {"amount": ["a", "b"]},
    "text of whole numbers": {"n": ["a", "b"]},
    "fractions of whole numbers": {"n": [0.5, 1.5]},
    "numbers of text": {"t": Column(bounds=(0, 1))},
    "a date of numbers": {"amount": Column("datetime")},
    "beyond all doubles": {"amount": (-1.7e308, 1.7e308)},
    "whole numbers beyond their dtype": {"n": [10**30, 1]},
}
KINDS = {
    "a text among numbers": [1, 2, "zz"],
    "bytes": [b"a", b"b", b"c"],
    "numpy bytes": [np.bytes_(b"a"), np.bytes_(b"b"), np.bytes_(b"b")],
    "dates": [np.datetime64("2020-01-01"), np.datetime64("2020-01-02"), np.datetime64("2020-01-03")],
    "complex": [1j, 2j, 3j],
    "tuples": [(1,), (2,), (3,)],
    "stamps": [pd.Timestamp("2020"), pd.Timestamp("2021"), pd.Timestamp("2022")],
    "intervals": list(pd.IntervalIndex.from_breaks([0, 1, 2, 3])),
}
OTHERS = {
    **{f"device {name}": (X, None, {"device": name}) for name in DEVICES},
    **{f"map, {name}": (X, None, {"cost": Map(make)}) for name, make in MAPS.items()},
    **{f"map, {name}, batch": (X, None, {"cost": Map(make), "mechanism": "batch"}) for name, make in MAPS.items()},
    **{f"schema, {name}": (FRAME, None, {"schema": schema}) for name, schema in SCHEMAS.items()},
    **{
        f"cells, {name}, {dtype}": (FRAME.assign(kind=pd.Series(cells * 20, dtype=object).astype(dtype)), None, {})
        for name, cells in KINDS.items()
        for dtype in ("object", "category")
        if (name, dtype) != ("complex", "category")
    },
    "bounds beyond all doubles": (X, None, {"schema": (-1.7e308, 1.7e308)}),
    "labels of bytes": (X, np.array([b"a", b"b", b"c"] * 20), {}),
    "declared labels of bytes": (X, np.array([b"a", b"b", b"c"] * 20), {"classes": [b"a", b"b", b"c"]}),
    "labels of dates": (X, np.array(["2020-01-01"] * 60, dtype="M8[D]"), {}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_be_done_is_refused_before_the_charge(name):
    records, labels, settings = OTHERS[name]
    if name.startswith("device"):
        kind = name.split()[1].split(":")[0]
        device = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
        if kind != "meta" and device is not None and device.is_available():
            pytest.skip("there is such a device here")
    ledger = PrivacyLedger()
    with pytest.raises((TypeError, ValueError)):
        DPSinkhornGenerator(
            **{"schema": None if hasattr(records, "columns") else (-4, 4), **settings}, ledger=ledger
        ).fit(records, labels)
    assert len(ledger) == 0


@pytest.mark.parametrize(
    ("model", "n_samples"), [(StandardScaler(), None), (object(), None), (LogisticRegression(), 2)]
)
def test_a_classifier_that_is_none_and_too_few_samples_cost_nothing(model, n_samples):
    ledger = PrivacyLedger()
    for classes in (None, [0, 1, 2]):
        gen = DPSinkhornGenerator(schema=(-4, 4), classes=classes, ledger=ledger)
        with pytest.raises((TypeError, ValueError)):
            TSTRClassifier(gen, model, n_samples=n_samples).fit(X, Y)
    assert len(ledger) == 0


def test_a_callback_that_raises_ends_no_fit_and_is_told():
    told = []

    def fail(progress):
        told.append(progress.what)
        raise RuntimeError("mine")

    with pytest.warns(RuntimeWarning, match="callback raised RuntimeError and was not called again"):
        gen = DPSinkhornGenerator(schema=(-4, 4), steps=2, callback=fail).fit(X)
    assert gen.sample(3).shape == (3, 3)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="callback"):
            gen.set_params(steps=3).fit(X)
    assert {row.what: row.steps for row in gen.privacy_spent().releases}["points"] == 3


# --- The records of a fit that goes on -------------------------------------------------------------------------------


def interrupted(monkeypatch, gen, *data):
    """Start a fit that dies at its third release."""
    from sinkgen.privacy.journal import Journal

    keep, left = Journal.keep, [3]

    def die(self, *arguments):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        keep(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "keep", die)
        with pytest.raises(KeyboardInterrupt):
            gen.fit(*data)


@pytest.mark.parametrize(
    "others",
    [(np.vstack([X, X[:1]]), np.append(Y, 0)), (X[1:], Y[1:]), (X + 1e-9, Y), (X[::-1], Y[::-1]), (X, Y[::-1])],
)
def test_the_same_noise_never_meets_other_records(others, tmp_path, monkeypatch):
    def made():
        return DPSinkhornGenerator(schema=(-4, 4), classes=[0, 1, 2], checkpoint_dir=tmp_path, random_state=0)

    interrupted(monkeypatch, made(), X, Y)
    with pytest.raises(ValueError, match="set of records"):
        made().fit(*others)
    assert made().fit(X.copy(), Y.tolist()).sample(2)[0].shape == (2, 3)


def test_a_table_goes_on_with_its_own_rows_alone(tmp_path, monkeypatch):
    def made():
        return DPSinkhornGenerator(schema={"amount": (-4, 4)}, checkpoint_dir=tmp_path, random_state=0)

    frame = FRAME.drop(columns="kind")
    interrupted(monkeypatch, made(), frame)
    for other in (frame.iloc[1:], frame.assign(t=["b", "a"] * 30), frame.assign(amount=0.0)):
        with pytest.raises(ValueError, match="set of records"):
            made().fit(other)
    assert len(made().fit(frame.copy()).sample(2)) == 2


def test_a_fingerprint_does_not_depend_on_how_records_are_cut():
    values = np.random.default_rng(0).normal(size=(2 * CHUNK + 100, 2))
    labels = np.arange(len(values)) % 3
    whole = fingerprint(ArraySource(values, labels))
    for size in (999, CHUNK, 10**6):
        cut = [
            Records(values[first : first + size], labels[first : first + size]) for first in range(0, len(values), size)
        ]
        assert fingerprint(ChunkedSource(lambda cut=cut: iter(cut))) == whole
    swapped = np.concatenate([values[1:2], values[:1], values[2:]])
    assert len({whole, fingerprint(ArraySource(swapped, labels)), fingerprint(ArraySource(values))}) == 3
