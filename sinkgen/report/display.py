"""A figure of real and synthetic records side by side."""

from typing import Any

import numpy as np

from sinkgen._types import RandomState
from sinkgen._validation import check_choice, check_integer
from sinkgen.exceptions import BadValueError
from sinkgen.report.columns import Columns, Part, as_part, named_columns

__all__ = ["FidelityDisplay"]

KINDS = ("marginals", "correlations", "samples")


class FidelityDisplay:
    """Pictures of synthetic records beside real ones.

    Make it by :meth:`from_samples` or :meth:`from_estimator`, which plot at once; :meth:`plot` plots again.

    Parameters
    ----------
    real, synthetic : X or (X, y)
        Arrays, images or data frames of the same columns; labels are not used.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure plotted last.
    axes_ : ndarray of shape (n_axes,)
        Its matplotlib.axes.Axes.

    Notes
    -----
    The pictures show real records. They are for those who hold them.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> display = FidelityDisplay(random.normal(size=(50, 3)), random.normal(size=(50, 3)))
    >>> display.real.shape
    (50, 3)
    """

    def __init__(self, real: Any, synthetic: Any) -> None:
        self.real, self.synthetic = as_part(real).X, as_part(synthetic).X

    @classmethod
    def from_samples(cls, real: Any, synthetic: Any, *, kind: str = "marginals", **settings: Any) -> "FidelityDisplay":
        """Plot synthetic records beside real ones.

        Parameters
        ----------
        real, synthetic : X or (X, y)
        kind : {"marginals", "correlations", "samples"}, default="marginals"
        **settings
            Of :meth:`plot`.

        Returns
        -------
        FidelityDisplay

        Raises
        ------
        ImportError, ValueError
            As :meth:`plot`.

        Examples
        --------
        >>> random = np.random.default_rng(0)
        >>> X, X_new = random.normal(size=(50, 3)), random.normal(size=(50, 3))
        >>> len(FidelityDisplay.from_samples(X, X_new, kind="marginals").axes_)
        3
        """
        return cls(real, synthetic).plot(kind, **settings)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, kind: str = "marginals", random_state: RandomState = None, **settings: Any
    ) -> "FidelityDisplay":
        """Plot what a fitted generator draws, as many as there are records in ``X``, beside these.

        Parameters
        ----------
        estimator : DPSinkhornGenerator or other estimator
            Fitted; has ``sample``.
        X : array of shape (n, ...) or data frame
            Real records.
        kind : {"marginals", "correlations", "samples"}, default="marginals"
        random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default=None
            Seeds the drawing.
        **settings
            Of :meth:`plot`.

        Returns
        -------
        FidelityDisplay

        Raises
        ------
        NotFittedError
            If ``estimator`` was not fitted.
        ImportError, ValueError
            As :meth:`plot`.

        Examples
        --------
        >>> from sinkgen import DPSinkhornGenerator
        >>> X = np.random.default_rng(0).normal(size=(500, 2))
        >>> gen = DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(X)
        >>> FidelityDisplay.from_estimator(gen, X, kind="correlations").synthetic.shape
        (500, 2)
        """
        return cls.from_samples(X, estimator.sample(len(X), random_state=random_state), kind=kind, **settings)

    def plot(self, kind: str = "marginals", *, most: int = 12, axes: Any = None) -> "FidelityDisplay":
        """Plot, with matplotlib.

        Parameters
        ----------
        kind : {"marginals", "correlations", "samples"}, default="marginals"
            Histograms of the first columns; matrices of correlations; or the first records themselves, as images where
            they are images, else as rows of a picture.
        most : int, default=12
            At most so many columns or records.
        axes : array of shape (n_axes,), default=None
            The matplotlib.axes.Axes to plot in: at least as many as there are columns for "marginals", else two. None
            makes a figure.

        Returns
        -------
        FidelityDisplay
            With ``figure_`` and ``axes_``.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If ``kind`` is unknown, or there are too few axes.

        Examples
        --------
        >>> random = np.random.default_rng(0)
        >>> display = FidelityDisplay(random.normal(size=(50, 3)), random.normal(size=(50, 3)))
        >>> display.plot("samples", most=4).axes_[1].get_title()
        'synthetic'
        """
        check_choice("kind", kind, KINDS)
        check_integer("most", most, low=1)
        draw = {"marginals": self._marginals, "correlations": self._correlations, "samples": self._samples}[kind]
        draw(most, axes)
        return self

    def _marginals(self, most, axes):
        columns = Columns(Part(self.real))
        names = columns.names[:most]
        self._take_axes(axes, len(names))
        for ax, name in zip(self.axes_, names, strict=False):
            column = columns.of[name]
            real, synthetic = (named_columns(X)[name] for X in (self.real, self.synthetic))
            column.draw(ax, {"real": real, "synthetic": synthetic})
            ax.set(title=str(name), yticks=[])
        self.axes_[0].legend(fontsize="small", framealpha=0.6, handlelength=1)

    def _correlations(self, most, axes):
        self._take_axes(axes, 2)
        views = Columns(Part(self.real)).views(real=Part(self.real), synthetic=Part(self.synthetic))
        for ax, (title, view) in zip(self.axes_, views.items(), strict=False):
            with np.errstate(divide="ignore", invalid="ignore"):  # a constant column: nan, blank
                matrix = np.corrcoef(view.numbers, rowvar=False)
            image = ax.imshow(np.atleast_2d(matrix), vmin=-1, vmax=1, cmap="RdBu")
            ax.set(title=title, xticks=[], yticks=[])
        self.figure_.colorbar(image, ax=list(self.axes_[:2]), shrink=0.7)

    def _samples(self, most, axes):
        self._take_axes(axes, 2)
        columns = Columns(Part(self.real))
        for ax, title in zip(self.axes_, ("real", "synthetic"), strict=False):
            X = getattr(self, title)
            if np.ndim(X) > 2:
                ax.imshow(_montage(np.asarray(X)[:most], self.real), cmap="gray")
            else:
                ax.imshow(columns.view(Part(X[:most])).numbers, vmin=-3, vmax=3, aspect="auto")
            ax.set(title=title, xticks=[], yticks=[])

    def _take_axes(self, axes, n):
        import matplotlib.pyplot as plt

        if axes is None:
            n_rows = -(-n // 4)
            n_columns = -(-n // n_rows)
            size = (2.4 * n_columns, 2.2 * n_rows) if n > 2 else (7, 3.2)
            _, axes = plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False)
            for ax in axes.ravel()[n:]:
                ax.remove()
        self.axes_ = np.atleast_1d(axes).ravel()
        if len(self.axes_) < n:
            raise BadValueError(f"axes must be at least {n}, got {len(self.axes_)}")
        self.figure_ = self.axes_[0].figure


def _montage(images, like):
    """One image of many, side by side; values from 0 to 1 over the range of ``like``."""
    low, high = np.min(like), np.max(like)
    images = np.clip((images - low) / max(high - low, 1e-12), 0, 1)
    images = np.pad(images, [(0, 0), (0, 1), (0, 1)] + [(0, 0)] * (images.ndim - 3), constant_values=1)
    side = int(np.ceil(np.sqrt(len(images))))
    blank = np.ones((side * side - len(images), *images.shape[1:]))
    rows = np.concatenate([images, blank]).reshape(side, side, *images.shape[1:])
    height, width, *channels = images.shape[1:]
    whole = rows.swapaxes(1, 2).reshape(side * height, side * width, *channels)
    return whole[..., 0] if channels == [1] else whole
