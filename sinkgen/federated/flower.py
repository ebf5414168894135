"""Messages by Flower: a fit as a ServerApp, owners as ClientApps. Nothing of the protocol is here."""

from collections.abc import Callable, Mapping
from typing import Any

from sinkgen.exceptions import BadValueError, MissingPackageError
from sinkgen.federated.messages import field, unpack
from sinkgen.federated.owner import Owner

RECORD, CONTENT = "sinkgen", "message"
NAME = b""  # asks a node for the name of its owner


class Flower:
    """The nodes of a Flower federation, for a :class:`Federation`; in the main function of a ``ServerApp``.

    Which node is whose is asked of the nodes. A node that gives another's name gains nothing by it: answers that are
    not made with that owner's key do not fit the others', and the fit ends with an error.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        As Flower gives it to the main function.
    patience : float
        Seconds that a round waits for owners.

    Raises
    ------
    ImportError
        If Flower is not installed: ``pip install 'sinkgen[flower]'``.

    Examples
    --------
    In the file of the server, where Flower is installed:

    >>> app = flwr.serverapp.ServerApp()  # doctest: +SKIP
    >>> @app.main()  # doctest: +SKIP
    ... def main(grid, context):
    ...     hospitals = federated.Federation(federated.Flower(grid), public, template, "back")
    ...     DPSinkhornGenerator(epsilon=2, schema=schema, classes=["no", "yes"]).fit(hospitals).save("model")
    """

    def __init__(self, grid: Any, *, patience: float = 600.0) -> None:
        self._grid, self._patience = grid, patience
        self._flower = _flower()
        self._nodes: dict[str, int] = {}

    def __call__(self, messages: Mapping[str, bytes]) -> dict[str, bytes]:
        """The replies of those who answer in time."""
        if not messages.keys() <= self._nodes.keys():
            self._meet()
        names = {self._nodes[name]: name for name in messages if name in self._nodes}
        replies = self._exchange({node: messages[name] for node, name in names.items()})
        return {names[node]: reply for node, reply in replies.items() if node in names}

    def _meet(self):
        """Ask all nodes for their names."""
        replies = self._exchange(dict.fromkeys(self._grid.get_node_ids(), NAME))
        names = [(reply.decode("utf-8", "replace"), node) for node, reply in replies.items()]
        if len({name for name, _ in names}) < len(names):
            raise BadValueError("two nodes give the name of the same owner; each owner is one node")
        self._nodes.update(names)

    def _exchange(self, contents):
        """Replies by node."""
        sent = [_packed(self._flower, content, dst_node_id=node, message_type="query")
                for node, content in contents.items()]  # fmt: skip
        replies = self._grid.send_and_receive(sent, timeout=self._patience)
        return {reply.metadata.src_node_id: _content(reply) for reply in replies if reply.has_content()}


def flower_client(owner: Callable[[Any], Owner]) -> Any:
    """A ``ClientApp`` through which an owner takes part.

    Parameters
    ----------
    owner : callable
        Maps Flower's context of a node to its :class:`Owner`, and is called at each message. Flower may run messages in
        processes of their own: give the owner a ``folder``, so that it knows what it has answered. The invitation of a
        fit is kept in the context's state.

    Returns
    -------
    flwr.clientapp.ClientApp

    Raises
    ------
    ImportError
        If Flower is not installed: ``pip install 'sinkgen[flower]'``.

    Examples
    --------
    In the file of the client, where Flower is installed:

    >>> def owner(context):
    ...     return federated.Owner("north", register(), "back", key=key, peers=public, epsilon=2, folder="answers")
    >>> app = flower_client(owner)  # doctest: +SKIP
    """
    flower = _flower()
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.query()
    def query(message, context):
        content, own = _content(message), owner(context)
        if content == NAME:
            return _packed(flower, own.name.encode(), reply_to=message)
        if RECORD in context.state and not _is_invitation(content):  # an owner that was made anew opens again
            own.reply(_content_of(context.state))
        reply = own.reply(content)
        if _is_invitation(content):
            context.state[RECORD] = flower.ConfigRecord({CONTENT: content})
        return _packed(flower, reply, reply_to=message)

    return app


def _is_invitation(content):
    try:
        return field(unpack(content), "kind", str) == "invitation"
    except BadValueError:
        return False


def _flower():
    try:
        import flwr.app
    except ImportError as error:
        raise MissingPackageError("Flower is not installed; pip install 'sinkgen[flower]'") from error
    return flwr.app


def _packed(flower, content, **address):
    return flower.Message(flower.RecordDict({RECORD: flower.ConfigRecord({CONTENT: content})}), **address)


def _content(message):
    return _content_of(message.content)


def _content_of(records):
    return bytes(records[RECORD][CONTENT])
