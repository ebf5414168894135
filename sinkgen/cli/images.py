"""Images in files: an .npz of arrays, or a folder of PNGs whose subfolders are labels."""

import math
from pathlib import Path

import numpy as np

from sinkgen._durable import replaced
from sinkgen.cli.console import Refused

# Names of the arrays in an .npz, the first that is there; those of test images come first where these are wanted.
RECORDS = ("X_train", "X", "x_train", "x", "images")
LABELS = ("y_train", "y", "labels")
TEST_RECORDS, TEST_LABELS = ("X_test", "x_test"), ("y_test",)
GREY, COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA")


def read_arrays(path, *, test=False, shape=None):
    """Read records and labels. Labels of PNGs are the names of their folders, as texts.

    Parameters
    ----------
    path : Path
        An .npz, or a folder: PNGs, or subfolders of PNGs, whose names are the labels.
    test : bool
        Whether arrays of test records are wanted, if the .npz has some.
    shape : tuple, optional
        (h, w) or (h, w, c), that PNGs are to have: grey or in colour, whatever each is. Without it they are in colour
        if one of them is.

    Returns
    -------
    X : ndarray
    y : ndarray or None

    Raises
    ------
    Refused
        If there is nothing of the kind.
    """
    if path.is_dir():
        return _read_folder(path, shape)
    if not path.is_file():
        raise Refused(f"{path}: no such file or folder")
    if path.suffix.lower() != ".npz":
        known = "tables are .csv, .tsv, either with .gz, or .parquet, arrays .npz, and images a folder of PNGs"
        raise Refused(f"{path}: {known}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # whose message may quote the file
        raise Refused(f"{path} cannot be read as .npz: {type(error).__name__}") from None
    X = _first(arrays, (*TEST_RECORDS * test, *RECORDS))
    if X is None:
        raise Refused(f"{path} has no array called {' or '.join(RECORDS)}; it has: {', '.join(arrays)}")
    y = _first(arrays, (*TEST_LABELS * test, *LABELS))
    return X, y


def _first(arrays, names):
    return next((arrays[name] for name in names if name in arrays), None)


def _read_folder(path, shape):
    groups = {folder.name: sorted(folder.glob("*.png")) for folder in sorted(path.iterdir()) if folder.is_dir()}
    groups = {name: files for name, files in groups.items() if files}
    own = sorted(path.glob("*.png"))
    if bool(groups) == bool(own):
        raise Refused(f"{path} must hold either PNGs, or subfolders of PNGs, whose names are the labels")
    images = _stack([file for files in (groups.values() if groups else [own]) for file in files], shape)
    if not groups:
        return images, None
    return images, np.repeat(np.array(list(groups), dtype=object), [len(files) for files in groups.values()])


def labels_as(names, classes):
    """Labels of the kind of declared ones, of folders' names; a name that is none of these is in no class.

    Parameters
    ----------
    names : ndarray of str
    classes : tuple of int or str
    """
    if not all(isinstance(label, (int, np.integer)) for label in classes):
        return names
    codes = {str(label): label for label in classes}
    return np.array([codes.get(name, max(classes) + 1) for name in names], dtype=np.int64)


def _stack(files, shape):
    mode = None if shape is None else "L" if shape[2:] in ((), (1,)) else "RGB"
    images = [_read_png(file, mode) for file in files]
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.stack([image] * 3, 2) for image in images]
    if len({image.shape for image in images}) > 1:
        raise Refused("the PNGs differ in size; bring them to one size first")
    stacked = np.stack(images)
    return stacked[..., None] if shape is not None and shape[2:] == (1,) else stacked


def _read_png(file, mode):
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            if image.mode not in GREY + COLOUR:
                raise Refused("a PNG is neither grey nor of colour with 8 bits a channel")
            return np.asarray(image.convert(mode or ("L" if image.mode in GREY else "RGB")))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise Refused(f"a PNG cannot be read: {type(error).__name__}") from None


def write_arrays(path, X, y, form):
    """Write records as .npz (arrays X, y), or images into a folder of PNGs, by label where there are labels.

    Parameters
    ----------
    path : Path
    X, y : ndarray
        y may be None.
    form : NumericFormat
        Of the generator; its bounds become black and white.
    """
    if path.suffix.lower() == ".npz":
        with replaced(path) as aside, aside.open("wb") as file:
            np.savez_compressed(file, **{"X": X} | ({} if y is None else {"y": y}))
        return
    with replaced(path) as aside:
        _write_folder(aside, as_pixels(X, form), y)


def as_pixels(X, form):
    """Images of a format as uint8, (n, h, w) or (n, h, w, 3); None where the records are no images."""
    shape = form.network_shape
    if len(shape) < 2:
        return None
    low, high = form.bounds[0]
    images = np.asarray(X, dtype=float).reshape(len(X), *shape)
    pixels = np.rint(255 * np.clip((images - low) / (high - low), 0, 1)).astype(np.uint8)
    return pixels[..., 0] if shape[2:] == (1,) else pixels


def _write_folder(path, pixels, y):
    from PIL import Image

    labels = [""] * len(pixels) if y is None else [str(label) for label in y]
    if y is not None and any(label in ("", ".", "..") or Path(label).name != label for label in labels):
        raise Refused("labels that are no names of folders: write an .npz instead")
    digits = math.ceil(math.log10(len(pixels) + 1))
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = path / label
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:0{digits}}.png")
