"""The way of the records through the rooms in one fit, read off the running code: `python benchmarks/rooms.py`.

Counted are the rooms (folders, and modules beside them) in which a function is given records, and the climbs: pairs of
modules of which the lower one calls the upper one with records, as a function given to ``map`` is called by a source.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import sinkgen
from sinkgen import DPSinkhornGenerator
from sinkgen.records import Records

PACKAGE = Path(sinkgen.__file__).parent
sys.path.insert(0, str(PACKAGE.parent / "tests"))


class Way:
    """What is called with records, while it is entered."""

    def __init__(self, n):
        from test_layers import levels

        self.n, self.level, self.rooms, self.climbs = n, levels(), {}, set()

    def __enter__(self):
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def _note(self, frame, event, _):
        place = _place(frame)
        if event != "call" or place is None or not any(map(self._are_records, _arguments(frame))):
            return
        self.rooms.setdefault(_room(place), len(self.rooms))
        caller = frame.f_back
        while caller is not None and _place(caller) is None:
            caller = caller.f_back
        origin = None if caller is None else _place(caller)
        if origin is not None and self.level[_room(origin)] < self.level[_room(place)]:
            self.climbs.add((str(origin), str(place)))

    def _are_records(self, value):
        if isinstance(value, (np.ndarray, torch.Tensor, pd.DataFrame)):
            return len(value) == self.n if value.ndim else False
        return isinstance(value, Records) and len(value) == self.n


def _place(frame):
    path = Path(frame.f_code.co_filename)
    return path.relative_to(PACKAGE) if PACKAGE in path.parents else None


def _room(place):
    return place.parts[0].removesuffix(".py")


def _arguments(frame):
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount]
    return [frame.f_locals[name] for name in names if name in frame.f_locals]


def main():
    """Print the rooms in the order in which the records come to them, and the climbs."""
    warnings.simplefilter("ignore")
    n = 1013  # like no other size
    random = np.random.default_rng(0)
    cases = {
        "array": (random.uniform(-1, 1, (n, 3)), {"schema": (-1, 1), "steps": 2}),
        "images": (random.uniform(0, 1, (n, 16, 16)), {"schema": (0, 1), "steps": 2}),
        "table": (pd.DataFrame({"a": random.uniform(size=n), "b": random.choice(["u", "v"], n)}), {}),
    }
    for name, (X, parameters) in cases.items():
        with Way(n) as way:
            DPSinkhornGenerator(**parameters).fit(X)
        print(f"{name}: {len(way.rooms)} rooms ({', '.join(way.rooms)}), {len(way.climbs)} climbs")
        for origin, place in sorted(way.climbs):
            print(f"    {origin} -> {place}")


if __name__ == "__main__":
    main()
