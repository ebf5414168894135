"""Tensors on their way to a device: random numbers are drawn on the processor, from one stream, wherever they go."""

import torch

FETCHING = {"cuda"}  # types of devices that fetch by themselves what lies in memory that the system cannot move

CACHED = 2**18  # numbers; what is larger comes from the system anew each time, and that takes longer than to fill it


def sent(tensor, device):
    """The tensor on a device; the processor does not wait for it.

    Parameters
    ----------
    tensor : Tensor
    device : torch.device, or a Tensor that lies there

    Examples
    --------
    >>> sent(torch.ones(2), torch.zeros(1))
    tensor([1., 1.])
    """
    device = device.device if isinstance(device, torch.Tensor) else torch.device(device)
    if device == tensor.device:
        return tensor
    if device.type not in FETCHING or tensor.device.type != "cpu":
        return tensor.to(device)
    return (tensor.pin_memory() if torch.cuda.is_available() else tensor).to(device, non_blocking=True)


def moved(module, device):
    """A module, or None, its buffers where :func:`sent` brings them; the processor does not wait, as it does in ``to``.

    Examples
    --------
    >>> moved(torch.nn.BatchNorm1d(2, affine=False), "cpu").running_mean
    tensor([0., 0.])
    """
    for part in [] if module is None else module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, sent(buffer, device))
    return module


def normal(shape, random, like):
    """Normal numbers of a stream of the processor, where another tensor lies.

    Examples
    --------
    >>> normal((2, 3), torch.Generator().manual_seed(0), torch.zeros(1)).shape
    torch.Size([2, 3])
    """
    return sent(torch.randn(shape, generator=random), like)


def cached(rows, width=None):
    """How many rows (m, d) are worked at together: on the processor as many as fit its cache, on a card all.

    Parameters
    ----------
    rows : Tensor of shape (m, d)
    width : int, optional
        Numbers that are made of a row; d by default.

    Examples
    --------
    >>> cached(torch.zeros(9000, 1000)), cached(torch.zeros(9000, 1000), 1_000_000)
    (256, 16)
    """
    if rows.device.type != "cpu":
        return max(1, len(rows))
    return max(16, CACHED // max(1, width or rows.shape[1]) // 16 * 16)  # as products want them, see sinkgen.ot.rows


def bincount(places, n, weights=None):
    """How often each place below ``n`` occurs, or the sum of its weights; a card is not waited for.

    Examples
    --------
    >>> bincount(torch.tensor([0, 2, 2]), 4)
    tensor([1, 0, 2, 0])
    """
    if places.device.type == "cpu":
        return torch.bincount(places, weights, n)
    added = torch.ones_like(places, dtype=torch.long) if weights is None else weights
    return added.new_zeros(n).index_add_(0, places, added)
