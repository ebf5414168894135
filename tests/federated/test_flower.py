"""Fits whose messages go by Flower; where it is not installed, by a stand-in that has what the adapter uses of it."""

import importlib.util
import sys
import warnings
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from sinkgen import DPSinkhornGenerator, federated
from sinkgen.exceptions import BadValueError, FitError, MissingPackageError

NAMES = ("north", "south", "west")
KEYS = {name: federated.new_private_key() for name in NAMES}
PUBLIC = {name: federated.public_key(key) for name, key in KEYS.items()}
SETTINGS = {"epsilon": 5, "schema": (-4, 4), "classes": [0, 1], "random_state": 0, "steps": 3}


class StandInMessage:
    """As flwr.app.Message, of which a reply goes where its message came from."""

    def __init__(self, content, *, dst_node_id=0, message_type="", reply_to=None):
        self.content = content
        self.metadata = SimpleNamespace(src_node_id=0, dst_node_id=dst_node_id, message_type=message_type)
        if reply_to is not None:
            self.metadata.src_node_id, self.metadata.dst_node_id = reply_to.metadata.dst_node_id, 0

    def has_content(self):
        return True


class StandInClient:
    """As flwr.clientapp.ClientApp."""

    def query(self):
        return lambda function: setattr(self, "function", function)

    def __call__(self, message, context):
        return self.function(message, context)


@pytest.fixture(params=["Flower", "stand-in"])
def flower(request, monkeypatch):
    """The package's Messages."""
    if request.param == "Flower":
        if importlib.util.find_spec("flwr") is None:
            pytest.skip("Flower is not installed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports
            import flwr.app
            import flwr.clientapp
            from flwr.supercore.task_identity import TaskIdentity
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1  # as Flower does in a server's process
        return flwr.app
    parts = {name: ModuleType(f"flwr.{name}") for name in ("app", "clientapp")}
    parts["app"].Message, parts["app"].RecordDict, parts["app"].ConfigRecord = StandInMessage, dict, dict
    parts["clientapp"].ClientApp = StandInClient
    monkeypatch.setitem(sys.modules, "flwr", ModuleType("flwr"))
    for name, module in parts.items():
        monkeypatch.setitem(sys.modules, f"flwr.{name}", module)
        monkeypatch.setattr(sys.modules["flwr"], name, module, raising=False)
    return parts["app"]


class Grid:
    """Nodes of this process; ``silent`` ones do not answer."""

    def __init__(self, clients):
        self.clients, self.silent, self.rounds = dict(enumerate(clients, 101)), set(), 0
        self.contexts = {node: SimpleNamespace(state={}) for node in self.clients}

    def get_node_ids(self):
        return list(self.clients)

    def send_and_receive(self, messages, *, timeout):
        self.rounds += 1
        to = [message.metadata.dst_node_id for message in messages]
        asked = [(message, node) for message, node in zip(messages, to, strict=True) if node not in self.silent]
        return [self.clients[node](message, self.contexts[node]) for message, node in asked]


@pytest.fixture
def hospitals(blobs):
    """Owners by name, made anew for each message as a process of Flower's would make them, in a folder of their own."""
    X, y = blobs
    parts = np.array_split(np.random.default_rng(1).permutation(len(X)), 3)

    def owner(name, rows, folder):
        return federated.Owner(name, X[rows], y[rows], key=KEYS[name], peers=PUBLIC, epsilon=5, folder=folder)

    return [(name, lambda folder, name=name, rows=rows: owner(name, rows, folder))
            for name, rows in zip(NAMES, parts, strict=True)]  # fmt: skip


def test_a_fit_by_flower(flower, hospitals, tmp_path):
    grid = Grid([federated.flower_client(lambda context, own=own, name=name: own(tmp_path / name))
                 for name, own in hospitals])  # fmt: skip
    X, y = np.zeros((1, 3)), np.zeros(1, int)
    fitted = DPSinkhornGenerator(**SETTINGS).fit(federated.Federation(federated.Flower(grid), PUBLIC, X, y))
    assert fitted.sample(5)[0].shape == (5, 3)
    assert grid.rounds > 3
    with_others = np.abs(fitted.sample(2000, random_state=0)[0]).mean()
    assert 1.0 < with_others < 2.0  # blobs lie about 1.5 away from 0


def test_who_does_not_answer_is_lost_by_name(flower, hospitals, tmp_path):
    grid = Grid([federated.flower_client(lambda context, own=own, name=name: own(tmp_path / name))
                 for name, own in hospitals])  # fmt: skip
    grid.silent = {103}
    hospitals = federated.Federation(federated.Flower(grid, patience=0.1), PUBLIC, np.zeros((1, 3)), np.zeros(1, int))
    with pytest.raises(FitError, match="west"):
        DPSinkhornGenerator(**SETTINGS).fit(hospitals)


def test_two_nodes_of_one_name_are_refused(flower, hospitals, tmp_path):
    (name, own), *_ = hospitals
    grid = Grid([federated.flower_client(lambda context: own(tmp_path / name))] * 2)
    with pytest.raises(BadValueError, match="two nodes give the name of the same owner"):
        federated.Flower(grid)({"north": b"hello"})


def test_without_flower_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "flwr", None)
    with pytest.raises(MissingPackageError, match=r"sinkgen\[flower\]"):
        federated.Flower(Grid([]))
    with pytest.raises(MissingPackageError, match=r"sinkgen\[flower\]"):
        federated.flower_client(lambda context: None)
