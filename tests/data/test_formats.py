import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sinkgen.data.bounds import parse_bounds
from sinkgen.data.formats import format_from_dict, numeric_format
from sinkgen.data.labels import LabelSet, declared_labels, label_set

ARRAYS = {
    "columns": (np.array([[0.0, 5.0], [1.0, -5.0]]), {"schema": [(0, 1), (-5, 5)]}),
    "integers": (np.array([[0, 7], [3, -5]]), {"schema": (-5, 7)}),
    "booleans": (np.array([[True, False]]), {}),
    "float32": (np.array([[0.25, 0.5]], dtype=np.float32), {"schema": (0, 1)}),
    "uint8 image": (np.arange(24, dtype=np.uint8).reshape(2, 3, 4), {}),
    "colour image": (np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3), {}),
    "rows of images": (np.arange(24.0).reshape(2, 12), {"image_shape": (3, 4), "schema": (0, 23)}),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_decode_undoes_encode(name):
    X, given_ = ARRAYS[name]
    form = numeric_format(X, **given_)
    encoded = form.encode(X)
    assert encoded.shape == (len(X), form.n_encoded)
    assert encoded.dtype == torch.float32
    assert 0 <= encoded.min() <= encoded.max() <= 1
    decoded = form.decode(encoded)
    assert decoded.dtype == X.dtype
    np.testing.assert_allclose(decoded, X, rtol=1e-6, atol=1e-6)
    again = format_from_dict(json.loads(json.dumps(form.to_dict())))
    assert again == form


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=5))
def test_any_number_is_clipped_into_the_bounds(values):
    form = numeric_format(np.zeros((1, 1)), schema=(-2, 3))
    encoded = form.encode(np.array(values)[:, None])
    assert torch.isfinite(encoded).all()
    np.testing.assert_allclose(form.decode(encoded)[:, 0], np.clip(values, -2, 3), atol=1e-6)


def test_integers_stay_within_bounds_that_are_no_integers():
    form = numeric_format(np.zeros((1, 1), dtype=int), schema=(0.5, 2.7))
    assert form.decode(torch.tensor([[0.0], [0.5], [1.0]]))[:, 0].tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([(0, 1)], "1 entries for 2 columns"),
        ((1, 1), "low < high"),
        ([(0, 1), (0, np.nan)], r"schema\[1\]"),
        ([(0, 1), 3], r"schema\[1\]"),
        ({"a": (0, 1)}, "dict"),
    ],
)
def test_schemas_that_are_wrong_say_where(schema, message):
    with pytest.raises((ValueError, TypeError), match=message):
        parse_bounds(schema, 2)


def test_a_pixel_knows_its_range_by_its_dtype_and_a_column_does_not():
    assert numeric_format(np.zeros((1, 2, 2), dtype=np.uint8)).bounds == ((0, 255),)
    assert numeric_format(np.zeros((1, 4), dtype=np.uint8)).bounds is None
    assert numeric_format(np.zeros((1, 2, 2))).bounds is None


def test_labels_round_trip_and_others_have_no_code():
    labels = LabelSet((3, 5), "<i8")
    codes = labels.encode(np.array([5, 3, 4]))
    assert codes.tolist() == [1, 0, -1]
    assert labels.decode(codes[:2]).tolist() == [5, 3]
    assert LabelSet.from_dict(json.loads(json.dumps(labels.to_dict()))) == labels


def test_the_longest_private_string_does_not_show_in_the_dtype():
    y = np.array(["a", "a very long and rare label"])
    assert label_set(["a"], y.dtype).dtype == "<U1"
    assert declared_labels(["a", "bb"], y).dtype == "<U2"
