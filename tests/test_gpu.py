"""What must hold on a card; deselected where nobody asks for it: ``make gpu``, or ``pytest -m gpu``.

The phantom's tests say that nothing crashes and that a device of IEEE numbers gives the same bits. These say that a
real one gives the same up to the rounding of its kernels, and that it is used.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from devices import CASES, Own, fit

from sinkgen import DPSinkhornGenerator
from sinkgen.ot import resolve_cost
from sinkgen.privacy.queries.moments import MomentQuery
from sinkgen.privacy.queries.transport import TransportQuery
from sinkgen.records import Records

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no card that CUDA knows is at hand"),
    pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning"),
]


@pytest.fixture(params=["highest", "high"])
def precision(request):
    """As training scripts set it; what is proven of clipped norms must hold either way."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


def numbers(sample):
    """The records of a sample, and what of them is numbers, as one frame."""
    records = sample[0] if isinstance(sample, tuple) else sample
    frame = (
        records if isinstance(records, pd.DataFrame) else pd.DataFrame(np.asarray(records).reshape(len(records), -1))
    )
    return frame.select_dtypes("number").astype(float)


@pytest.mark.parametrize("name", CASES)
def test_a_fit_on_the_card_is_near_that_on_the_cpu(name, tmp_path):
    there, here = (fit(device, *CASES[name]) for device in ("cuda", "cpu"))
    there.save(tmp_path)
    factory = {"generator": Own} if there.generator is Own else {}
    again = DPSinkhornGenerator.load(tmp_path, **factory)
    one, other, loaded = (numbers(gen.sample(500, random_state=1)) for gen in (there, here, again))
    pd.testing.assert_frame_equal(one, loaded, check_exact=True)
    spread = (other.max() - other.min()).clip(lower=1e-6)
    assert ((one.mean() - other.mean()).abs() <= 0.1 * spread).all()


def test_images_drawn_on_the_card_are_those_of_the_processor(tmp_path):
    fitted = fit("cpu", *CASES["images"])
    fitted.save(tmp_path)
    here = numbers(fitted.sample(500, random_state=1)).to_numpy()
    for there in (fitted.sample(500, random_state=1, device="cuda"),
                  DPSinkhornGenerator.load(tmp_path, device="cuda").sample(500, random_state=1)):  # fmt: skip
        assert (np.abs(numbers(there).to_numpy() - here) > 2).mean() < 0.01


def test_what_is_fitted_does_not_lie_on_the_card():
    fitted = fit("cuda", *CASES["rows, mlp"])
    assert {str(part.device) for part in fitted.release_.generator.state_dict().values()} <= {"cpu"}


def contributions():
    points = torch.randn(50, 300, generator=torch.Generator().manual_seed(1))
    return {
        "moments": MomentQuery(300, 1.5),
        "transport": TransportQuery(
            points, torch.zeros(50).long(), torch.zeros(50), 0.5, resolve_cost("sqeuclidean"), clip=0.7, mass_clip=0.2
        ),
    }


@pytest.mark.parametrize("name", ["moments", "transport"])
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e18])
def test_a_record_moves_no_sum_beyond_its_bound(name, scale, precision):
    query, random = contributions()[name], torch.Generator().manual_seed(0)
    values = scale * torch.randn(200, 300, generator=random)
    whole, labels = values.to("cuda"), torch.zeros(200, dtype=torch.long, device="cuda")
    total = query.evaluate([Records(whole, labels)])
    for i in range(0, 200, 20):
        rest = [j for j in range(200) if j != i]
        moved = total - query.evaluate([Records(whole[rest], labels[rest])])
        assert float(moved.norm()) <= query.sensitivity


def test_no_card_runs_out_of_what_a_fit_needs_less_of():
    """Records that do not fit the card are summed in parts, and the fit ends."""
    torch.cuda.set_per_process_memory_fraction(0.05)
    try:
        random = np.random.default_rng(0)
        X, y = random.random((50_000, 3_072), dtype=np.float32), random.integers(10, size=50_000)
        fitted = DPSinkhornGenerator(1, schema=(0, 1), classes=range(10), device="cuda", random_state=0).fit(X, y)
        assert len(fitted.sample(10)[0]) == 10
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
