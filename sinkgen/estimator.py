"""The estimator: parameters to plan, plan to training, training to state, and that to the disk; nothing else."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sinkgen import fitting
from sinkgen._types import Path, RandomState
from sinkgen.accounting import PrivacySpent
from sinkgen.exceptions import BadValueError, PoorFitWarning
from sinkgen.generators.distill import distill
from sinkgen.generators.field import Field
from sinkgen.generators.networks import Network, make_network, network_name
from sinkgen.generators.particles import Particles
from sinkgen.generators.product import ProductMixture
from sinkgen.generators.release import Release
from sinkgen.ot.costs import CostLike
from sinkgen.parameters import check_parameters, is_auto, torch_device, torch_stream
from sinkgen.privacy.ledger import PrivacyLedger
from sinkgen.progress import FitProgress, Progress
from sinkgen.sampling import SamplingMixin, placed
from sinkgen.settings import Settings, changed, from_json, to_json
from sinkgen.sources.open import open_records
from sinkgen.storage import PARAMETERS, load_model, save_model


class DPSinkhornGenerator(SamplingMixin, BaseEstimator):
    """Differentially private synthetic data by optimal transport.

    ``fit`` spends the privacy budget, ``sample`` draws new records; what is drawn, and everything else that the fitted
    estimator holds, may be shown to anyone.

    Parameters
    ----------
    epsilon : float, default=1.0
        Privacy loss of a fit; the smaller the safer. ``inf`` trains without noise, as a ceiling to compare with.
    delta : float, default=1e-5
        Probability with which the bound may fail; well below one over the number of records.
    mechanism : {"auto", "semidual", "batch", "marginals"}, Semidual, Batch or Marginals, default="auto"
        "semidual" moves points by transport, with a bound on what each record contributes; "batch" is the paper's,
        which clips a batch's gradient; "marginals" counts the states of a table's columns and their pairs. "auto" is
        "marginals" for tables, and "semidual" for arrays and images. Or one of them with its settings:
        :class:`~sinkgen.Semidual`, :class:`~sinkgen.Batch`, :class:`~sinkgen.Marginals`; then ``reg``, ``debias``,
        ``steps``, ``sampling_rate`` and ``clip`` are settings there, and stay "auto" here.
    generator : {"auto", "particles", "mlp", "conv", "dcgan", "biggan"} or callable, default="auto"
        What draws the records: released points with variation, or a network; "dcgan" and "biggan" are the paper's. A
        callable
        ``(latent_dim, output_shape, n_classes) -> torch.nn.Module`` maps latents (m, latent_dim) and integer classes
        (m,) to records ``(m, *output_shape)`` in [0, 1]; it is given its attribute ``latent_dim``, where it has one,
        else 32. "auto": particles for "semidual"; for "batch" a convolutional network where the data are images, else
        a perceptron.
    backend : {"torch", "pot"}, default="torch"
        Who solves the transport problems.
    cost : {"sqeuclidean", "l1", "l1+l2", "scattering"}, sinkgen.ot.MixedCost, or torch.nn.Module, \
            default="sqeuclidean"
        Ground cost; a module is a public, fixed feature map under squared L2, of encoded records (m, D) in [0, 1].
        "scattering" is such a one of images: :class:`sinkgen.ot.Scattering`.
    reg : float, (float, float) or "auto", default="auto"
        Entropic regularisation, as a share of the mean cost between typical records. A pair, for "semidual": annealed
        from the first to the second.
    debias : float, None or "auto", default="auto"
        Share p of the self term's points that are drawn afresh, from 0 to 1; None leaves the self term out. "auto":
        None for "semidual" with free points, which anneals to a small ``reg`` instead; 0.2 for "batch".
    steps : int or "auto", default="auto"
        Releases of the mechanism.
    sampling_rate : float or "auto", default="auto"
        Probability with which a record takes part in a step. "auto": 1 for "semidual", 0.01 for "batch".
    clip : float or "auto", default="auto"
        "semidual": bound of one record's displacement, as a share of the typical distance between records. "batch":
        bound of the norm of the gradient in all points together, in encoded units.
    schema : (low, high), or a list of them, one a column; for tables a dict or Schema; default=None
        Public bounds of the numbers; values outside are clipped. For tables, see :class:`~sinkgen.Schema`; with pairs
        as for an array, a data frame of one dtype is treated as an array whose columns have names.
    image_shape : (h, w) or (h, w, c), default=None
        Shape of the image in each row, where ``X`` has two dimensions.
    augment : {"auto", "affine"}, callable or None, default="auto"
        How images vary beyond what moves their points. "auto": by smooth deformations whose sizes are learned, on a
        small share of the budget ("semidual", 16 pixels a side and more). None: not. "affine": also by small random
        turns, scalings, shears and shifts of what is drawn, where it is public that these are symmetries of your
        images. A callable ``(images, random) -> images`` instead of them: tensors (m, h, w) or (m, h, w, c) in [0, 1],
        and a torch.Generator.
    prior : array, or object with ``sample(n)``, default=None
        Public records of the shape and dtype of ``X``, or a generator that was fitted to such. The directions in which
        records vary are taken from them, and the private releases say where ``X`` differs. They must be public: what
        is learned of them is not protected. For arrays and images, by "semidual".
    classes : sequence, default=None
        Public set of labels; records with another label take no part in any class.
    metadata : {"learn", "trust", "require"}, default="learn"
        What becomes of bounds and labels that are not declared: learned on the same budget, taken from the data as
        public with a :class:`~sinkgen.PrivacyLeakWarning`, or refused.
    accountant : {"auto", "prv", "rdp"}, default="auto"
        See :func:`sinkgen.accounting.compose`.
    max_rows_per_group : int, "auto" or None, default=None
        Where ``fit`` is given groups: of how many rows of a group the sums are made, drawn at random where there are
        more; noise is as many times larger. None: of all rows, each with a weight of one over their number; noise is
        that of a fit without groups, and what is drawn is as a row, at random, of a group at random. "auto" releases
        how many rows groups have, on 2 % of the budget, and takes what is nearest to rows as they come: weights, or 2
        to 8 rows; the statement says which.
    ledger : PrivacyLedger, default=None
        Is charged by every fit, before its first release.
    device : str, default="auto"
        Torch device of the passes over the records; "auto" is CUDA where there is one, and the CPU for tables.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default=None
        Seeds starting points, latents and networks; never noise or sampling.
    noise_seed : int, default=None
        Makes the noise reproducible, for tests: whoever knows the seed can remove it. Warns, and is told in
        ``privacy_spent()``.
    secure_noise : bool, default=False
        Noise and sampling from a cipher, the noise in sums of four normals, against attacks on the generator's state
        and on floating point; see :class:`sinkgen.privacy.streams.Streams`. Needs the extra ``sinkgen[secure]``.
    checkpoint_dir : str or Path, default=None
        Where a fit keeps its secret key and what it has released, until it is saved. A process that is killed before
        has lost nothing: the fit goes on from there when it is started again with the same parameters and records, in
        whatever process, and ends as it would have ended, at no further charge. The same estimator, fitted anew, spends
        anew. The folder is for its owner's eyes only; the key goes when :meth:`save` has written the model.
    verbose : int, default=0
        1 shows progress bars: of the steps, and of each pass over records that do not lie in memory. They hold nothing
        that depends on the records but by what was released.
    callback : callable, default=None
        Called with a :class:`~sinkgen.FitProgress` when a stage of the fit, or a pass over records that do not lie in
        memory, starts and after each of its steps, for a display of your own. Nothing in it depends on the
        records but by what was released.

    Attributes
    ----------
    release_ : Release
        All that was released, with its statement; see :meth:`from_release`.
    schema_ : FittedSchema
        What was declared and learned of each column and class, and what of it is poorly known: print it.
    generator_ : torch.nn.Module
        Draws encoded records.
    classes_ : ndarray of shape (n_classes,)
        Labels that the generator knows; only where fitted with y.
    n_features_in_ : int
        Columns, or the last but image dimensions' product where X has images.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns; only where X has some, and all are text.

    References
    ----------
    .. [1] Cao, Bie, Vahdat, Fidler, Kreis, "Don't Generate Me: Training Differentially Private Generative Models with
       Sinkhorn Divergence", NeurIPS 2021, arXiv 2111.01177.
    .. [2] Genevay, Cuturi, Peyre, Bach, "Stochastic Optimization for Large-scale Optimal Transport", NIPS 2016,
       arXiv 1605.08527.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> gen = DPSinkhornGenerator(epsilon=10, schema=(0, 16), image_shape=(8, 8), classes=range(10)).fit(X, y)
    >>> X_new, y_new = gen.sample(100)
    >>> X_new.shape, gen.privacy_spent().epsilon <= 10
    ((100, 64), True)

    Digits that are public say in which directions others vary, at no budget:

    >>> public, private, labels = X[y < 5], X[y >= 5], y[y >= 5]
    >>> gen = DPSinkhornGenerator(
    ...     epsilon=1, prior=public, schema=(0, 16), image_shape=(8, 8), classes=range(5, 10)
    ... ).fit(private, labels)
    >>> gen.privacy_spent().assumptions[-1]
    '901 public records as prior'
    """

    def __init__(
        self,
        epsilon: float = 1.0,
        delta: float = 1e-5,
        *,
        mechanism: str | Settings = "auto",
        generator: str | Callable[..., Any] = "auto",
        backend: str = "torch",
        cost: CostLike = "sqeuclidean",
        reg: float | tuple[float, float] | str = "auto",
        debias: float | str | None = "auto",
        steps: int | str = "auto",
        sampling_rate: float | str = "auto",
        clip: float | str = "auto",
        schema: Any = None,
        image_shape: Sequence[int] | None = None,
        augment: str | Callable[..., Any] | None = "auto",
        prior: Any = None,
        classes: Iterable[Any] | None = None,
        metadata: str = "learn",
        accountant: str = "auto",
        max_rows_per_group: int | str | None = None,
        ledger: PrivacyLedger | None = None,
        device: str = "auto",
        random_state: RandomState = None,
        noise_seed: int | None = None,
        secure_noise: bool = False,
        checkpoint_dir: Path | None = None,
        verbose: int | bool = 0,
        callback: Callable[[FitProgress], None] | None = None,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.mechanism = mechanism
        self.generator = generator
        self.backend = backend
        self.cost = cost
        self.reg = reg
        self.debias = debias
        self.steps = steps
        self.sampling_rate = sampling_rate
        self.clip = clip
        self.schema = schema
        self.image_shape = image_shape
        self.augment = augment
        self.prior = prior
        self.classes = classes
        self.metadata = metadata
        self.accountant = accountant
        self.max_rows_per_group = max_rows_per_group
        self.ledger = ledger
        self.device = device
        self.random_state = random_state
        self.noise_seed = noise_seed
        self.secure_noise = secure_noise
        self.checkpoint_dir = checkpoint_dir
        self.verbose = verbose
        self.callback = callback

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> "DPSinkhornGenerator":
        """Spend the budget: learn a generator from private records.

        Parameters
        ----------
        X : array of shape (n, columns), (n, h, w) or (n, h, w, c), or data frame of pandas or polars
            Numbers; images also as rows, with ``image_shape``; tables of numbers, categories, booleans and dates, with
            missing cells. Records that need not fit memory: a ``numpy.memmap``, the path of Parquet files, what
            :func:`sinkgen.sources.parquet` or :func:`sinkgen.sources.chunks` return, a ``dask.array`` or a
            ``dask.dataframe``; they are read anew at each pass.
        y : array of shape (n,) or str, default=None
            Labels: integers, booleans or strings. For tables also the name of the column that holds them.
        groups : array of shape (n,) or str, default=None
            Whose each row is: integers or strings, no two persons with the same, and each person with one; for tables
            also the name of the column that holds them, which is then no feature. What the statement protects is then
            a person with all rows, and not a row.

        Returns
        -------
        self : DPSinkhornGenerator

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are unusable; before anything is spent, and without showing a value of the data.
        BudgetExceededError
            If the ledger has a budget that this fit would exceed; nothing is spent then.
        OSError
            If the charge, or with ``checkpoint_dir`` a release, cannot be written to disk; it is not used then.

        Examples
        --------
        >>> X = np.random.default_rng(0).normal(size=(500, 2))
        >>> gen = DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(X)
        >>> [row.what for row in gen.privacy_spent().releases][:2]
        ['bounds', 'count']
        """
        given = check_parameters(self)
        with Progress(self.verbose, self.callback) as progress:
            # With the schema of an array, a data frame is one, whose columns have names.
            as_array = isinstance(self.schema, (tuple, list))
            data = open_records(X, y, groups, as_array=as_array, watch=progress.parts)
            fitted = fitting.fit(self, data, given, progress, getattr(self, "_kept", None))
            self._kept = fitted.kept
            self._adopt(fitted.release)
            self._make_generator(fitted.random)
        # Last of all: a warning that is made an error must not lose what has been paid for.
        if fitted.release.schema is not None and fitted.release.schema.remarks:
            warnings.warn(fitted.release.schema.summary(), PoorFitWarning, stacklevel=2)
        return self

    def _adopt(self, release):
        self.release_, self.schema_ = release, release.schema
        self.n_features_in_ = math.prod(release.form.record_shape)
        for attribute in ("feature_names_in_", "classes_"):  # of an earlier fit
            if hasattr(self, attribute):
                delattr(self, attribute)
        names = release.form.names
        if names is not None and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.array(names, dtype=object)
        if release.labels is not None:
            self.classes_ = release.labels.decode(range(len(release.labels.classes)))

    def _make_generator(self, random):
        """Stage B: no record is at hand here."""
        released = self.release_.generator
        if isinstance(released, (Field, ProductMixture)) and self.generator not in ("auto", "particles"):
            raise BadValueError("the release of a table draws by itself: generator must be 'auto' or 'particles'")
        if self.generator in ("auto", "particles") or not isinstance(released, Particles):
            self.generator_ = released
            return
        weights = self.release_.class_weights
        network = make_network(self.generator, self.release_.form.network_shape, len(weights), random)
        network.to(torch_device(self.device))
        with Progress(self.verbose, self.callback) as progress:
            progress.follow(lambda: "nothing", lambda: self.release_.spent.epsilon)
            distill(
                network, released, weights,
                random=random, backend=self.backend, progress=progress.steps("public steps"),
            )  # fmt: skip
            self.generator_ = network.cpu()

    def privacy_spent(self) -> PrivacySpent:
        """What the last fit cost: print it for a statement that can stand in a paper.

        Returns
        -------
        PrivacySpent

        Raises
        ------
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> X = np.random.default_rng(0).normal(size=(500, 2))
        >>> print(str(DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(X).privacy_spent()).splitlines()[0])
        Differential privacy: epsilon = 5, delta = 1e-05.
        """
        check_is_fitted(self)
        return self.release_.spent

    @classmethod
    def from_release(
        cls,
        release: Release,
        generator: str | Callable[..., Any] = "particles",
        *,
        backend: str = "torch",
        augment: str | Callable[..., Any] | None = "auto",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> "DPSinkhornGenerator":
        """Make a new generator of what was released before, at no cost of privacy.

        Parameters
        ----------
        release : Release
            ``release_`` of a fitted estimator.
        generator : {"auto", "particles", "mlp", "conv", "dcgan", "biggan"} or callable
            A network is trained on the release by the Sinkhorn divergence; "auto" and "particles" draw from the
            release itself.
        backend, augment, random_state, verbose
            As for the class; ``augment`` varies what is drawn beyond what was released.

        Returns
        -------
        DPSinkhornGenerator
            Fitted.

        Raises
        ------
        TypeError, ValueError
            If a parameter is unusable, or a network is asked for where the release is of a table.

        Examples
        --------
        >>> X = np.random.default_rng(0).normal(size=(500, 2))
        >>> gen = DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(X)
        >>> again = DPSinkhornGenerator.from_release(gen.release_)
        >>> again.privacy_spent() == gen.privacy_spent()
        True
        """
        made = cls(
            release.spent.epsilon, release.spent.delta, generator=generator, backend=backend, augment=augment,
            random_state=random_state, verbose=verbose,
        )  # fmt: skip
        check_parameters(made)
        made._adopt(release)
        made._make_generator(torch_stream(random_state))
        return made

    def save(self, path: Path, *, compact: bool = False) -> None:
        """Write the fitted generator into a folder: one JSON and one safetensors file, no code, no record.

        What the fit has kept in ``checkpoint_dir`` is erased once the model is on the disk.

        Parameters
        ----------
        path : str or Path
            Made if it does not exist; a model that lies there is replaced.
        compact : bool, default=False
            Keep what was released in numbers of 8 to 16 bits, in about a fifth of the bytes. The counts that direct
            answers are made of are left out.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``compact`` is True and the release is of a network, as the batch mechanism trains one.
        OSError
            If the folder cannot be written, or the disk is full. Nothing is lost then: this generator can be saved
            elsewhere, and what ``checkpoint_dir`` holds stays there.

        Examples
        --------
        >>> import os, tempfile
        >>> gen = DPSinkhornGenerator(schema=(-4, 4)).fit(np.random.default_rng(0).normal(size=(500, 2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gen.save(folder)
        ...     sorted(os.listdir(folder))
        ['model.json', 'model.safetensors']
        """
        check_is_fitted(self)
        name = self.generator if isinstance(self.generator, str) else "custom"
        if name == "auto" and isinstance(self.generator_, Network):
            name = network_name("auto", self.release_.form)
        parameters = {key: getattr(self, key) for key in PARAMETERS}
        name_alone = fitting.mechanism_name("auto", self.release_.form)
        parameters["mechanism"] = name_alone if is_auto(self.mechanism) else to_json(self.mechanism)
        if callable(self.augment):  # code is not saved
            parameters["augment"] = "custom"
        save_model(path, self.release_, self.generator_, name, parameters, compact=compact)
        kept = getattr(self, "_kept", None)
        if kept is not None:
            kept.discard()

    @classmethod
    def load(
        cls, path: Path, generator: Callable[..., Any] | None = None, augment: Callable[..., Any] | None = None, *,
        device: str | None = None,
    ) -> "DPSinkhornGenerator":  # fmt: skip
        """Read a generator that :meth:`save` wrote. Executes nothing.

        Parameters
        ----------
        path : str or Path
        generator : callable, default=None
            The factory of your own network, if it was saved with one.
        augment : callable, default=None
            Your own variation of images, if it was saved with one.
        device : str, default=None
            Torch device on which the model lies from then on, and draws; the processor by default.

        Returns
        -------
        DPSinkhornGenerator

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no model at ``path``, or it is damaged, newer than this version, or needs a factory or an
            augment; or the device is not there, or does not draw tables.

        Examples
        --------
        >>> import tempfile
        >>> gen = DPSinkhornGenerator(schema=(-4, 4)).fit(np.random.default_rng(0).normal(size=(500, 2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gen.save(folder)
        ...     DPSinkhornGenerator.load(folder).sample(2).shape
        (2, 2)
        """
        loaded = load_model(path, generator)
        name = loaded.generator_name if generator is None else generator
        if loaded.parameters.get("augment") == "custom":
            if not callable(augment):
                raise BadValueError("the model was saved with an augment of your own: give it to load as augment=")
            loaded.parameters["augment"] = augment
        try:
            loaded.parameters["mechanism"] = from_json(loaded.parameters.get("mechanism", "auto"))
            made = cls(**loaded.parameters, generator="auto" if name == "custom" else name)
            check_parameters(made)
        except TypeError as error:
            raise BadValueError(f"{path} holds no readable model: {error}") from error
        made.generator = name
        made._adopt(loaded.release)
        made.generator_ = placed(loaded.generator, device)
        return made

    def set_params(self, **params: Any) -> "DPSinkhornGenerator":
        """Set parameters, as scikit-learn does; ``mechanism__steps=`` and the like set those of the mechanism.

        Parameters
        ----------
        **params
            By name.

        Returns
        -------
        self : DPSinkhornGenerator

        Raises
        ------
        TypeError, ValueError
            If a name is unknown, or a setting of the mechanism is wrong.

        Examples
        --------
        >>> DPSinkhornGenerator(mechanism="batch").set_params(mechanism__points=50).mechanism.points
        50
        """
        prefix = "mechanism__"
        nested = {name.removeprefix(prefix): params.pop(name) for name in [*params] if name.startswith(prefix)}
        super().set_params(**params)
        if nested:  # settings are frozen: those of before may be another estimator's, too
            self.mechanism = changed(self.mechanism, nested)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True  # noise comes from the operating system's entropy, whatever random_state
        tags.input_tags.three_d_array = True  # images
        return tags
