"""A network as a file, written so that no accident can leave a broken one behind.

A model file is an ordinary ``.npz``: a zip of NumPy arrays, which `numpy.load` opens without us.

===========================  ====================================================================
entry                        what it holds
===========================  ====================================================================
``header``                   a JSON text: format, version, the network's settings, class names, ...
``network/NAME``             the parameters and running statistics, by their names
``standardization/mean``     what was subtracted from each channel of the training images ...
``standardization/std``      ... and what they were divided by
``training_features/NAME``   how pixels of the training images look to the network, and whence
``optimizer/NAME``           only in a training state: what the optimizer remembers
===========================  ====================================================================

Two rules make these files safe. *Reading* believes nothing and never unpickles, since a pickle can
run any program: each part must pass its checksum and be needed to the last byte, all numbers must
be finite, and no memory is taken for more network than there are weights. *Writing*
happens aside: the new file grows under another name and takes the place of the old one in a single
step when it is complete and on the disk, so that after a power cut the old file is intact.
"""

import io
import json
import os
import reprlib
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinyunet.atomic_io import written_aside
from tinyunet.backend import to_host
from tinyunet.data.class_table import NO_CLASS, parse_class_table
from tinyunet.data.images import ImageFormat, plain
from tinyunet.errors import UserError, problems_named
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

FORMAT = "tinyunet model"
VERSION = 1
IN_HEADER = ("class_names", "ignore_index", "metadata", "threshold")  # of a model, as JSON


@dataclass
class Model:
    """A network and all that is needed to use it on an image file.

    Attributes
    ----------
    network : UNet
        The network, with its weights.
    standardization : Standardization
        What makes the pixels of an image file the input of the network.
    class_names : list of str, optional
        A name for each class, K of them; "class 0", "class 1", ... if not given.
    ignore_index : int or None
        The value in masks that means "don't count this pixel".
    metadata : dict
        Anything else that JSON can hold: the settings of the training, its scores.
    training_features : dict of array
        What `tinyunet.inference.applicability.sample_features` gave, or nothing.
    threshold : float, optional
        Of two classes: class 1 is chosen where its probability is above this, not above 0.5.
    """

    network: UNet
    standardization: Standardization
    class_names: list[str] | None = None
    ignore_index: int | None = None
    metadata: dict = field(default_factory=dict)
    training_features: dict = field(default_factory=dict)
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Make up names where there are none; raise a UserError if there are too few or many."""
        classes = self.network.config["classes"]
        names = self.class_names or [f"class {index}" for index in range(classes)]
        self.class_names = [str(name) for name in names]
        if len(names) != classes or classes > NO_CLASS:
            found = f"{len(names)} class names for {classes} classes"
            raise UserError(f"{found}: there must be as many, and at most {NO_CLASS}")


@dataclass
class TrainingState:
    """All that a training run needs to go on as if it had never stopped.

    Attributes
    ----------
    model : Model
        The network as it was after its last step.
    optimizer : dict of str to array
        What the optimizer remembers, as its `state` gave it.
    progress : dict
        Where the run stands: anything that JSON can hold.
    """

    model: Model
    optimizer: dict
    progress: dict


# -- Writing ---------------------------------------------------------------------------------------


def save_model(path, model: Model, optimizer=None, progress: dict | None = None) -> None:
    """Save a network for `load_model`: safely, and with all that predictions need.

    Parameters
    ----------
    path : path
        The file to write, usually ``model.npz``.
    model : Model
        The network and what belongs to it.
    optimizer : SGD or Adam, optional
        For a run to go on from here: its `state_dict` is saved, too. `load_training_state` reads
        it; `load_model` can read the file as well.
    progress : dict, optional
        Likewise, where the run stands: the step, the scores so far; anything that JSON can hold.

    Raises
    ------
    UserError
        If the file can't be written; the file that was there before is untouched.
    """
    header, arrays = pack(model)
    if optimizer is not None:
        header["progress"] = progress
        arrays |= {f"optimizer/{name}": array for name, array in optimizer.state_dict().items()}
    text = np.array(json.dumps(header, default=os.fspath))  # paths become text
    with written_aside(path, on_disk=True) as file:
        np.savez(file, header=text, **{name: to_host(array) for name, array in arrays.items()})


def pack(model: Model) -> tuple[dict, dict]:
    """Take a model apart into a header for JSON and arrays."""
    header = {"format": FORMAT, "version": VERSION, "network": model.network.config}
    header |= {name: getattr(model, name) for name in IN_HEADER}
    arrays = {f"network/{name}": array for name, array in model.network.state_dict().items()}
    arrays["standardization/mean"] = model.standardization.mean
    arrays["standardization/std"] = model.standardization.std
    arrays |= {f"training_features/{name}": a for name, a in model.training_features.items()}
    return header, arrays


# -- Reading ---------------------------------------------------------------------------------------


def load_model(path) -> Model:
    """Load what `save_model` saved, onto the device in use.

    Parameters
    ----------
    path : path
        A model file.

    Returns
    -------
    Model
        The network, ready to predict (in `eval` mode), and what belongs to it.

    Raises
    ------
    UserError
        If there is no such file, or it is truncated, damaged, not a model file, or from a newer
        tinyunet. Nothing in the file is ever executed.
    """
    return read(path).model


def load_training_state(path) -> TrainingState:
    """Load what `save_model` saved with an optimizer.

    Parameters
    ----------
    path : path
        A training state, usually ``last.npz``.

    Returns
    -------
    TrainingState
        The model, the optimizer's state on the host, and the progress.

    Raises
    ------
    UserError
        As `load_model`; also if the file is a model without the state of its training.
    """
    state = read(path)
    if state.progress is None:
        raise UserError(f"{path} is a model, not the state of a training run: last.npz holds that")
    return state


def read(path) -> TrainingState:
    """Read all parts of a model file, each whole, and believe none of them."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no such model file: {path}")
    what = "is damaged or not a tinyunet model file"
    with open(path, "rb") as file, problems_named(path, what), zipfile.ZipFile(file) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        # Ours are not compressed; one that is could swell up and fill the memory.
        expect(sum(sizes.values()) <= path.stat().st_size, "its parts are compressed", sizes)
        expect(sizes.pop("header.npy", 0), "it has no header", sizes)
        header = json.loads(str(parse_array(archive.read("header.npy"))))
        expect(header["format"] == FORMAT, "format", header["format"])
        expect(type(header["version"]) is int, "version", header["version"])
        if header["version"] > VERSION:
            raise UserError(
                f"{path} has format version {header['version']}, from a newer tinyunet; this one "
                f"reads up to {VERSION}: pip install --upgrade tinyunet"
            )
        arrays: dict = defaultdict(dict)
        for name in sizes:
            group, _, rest = name.removesuffix(".npy").partition("/")
            arrays[group][rest] = parse_array(archive.read(name))
        return TrainingState(unpack(header, arrays), arrays["optimizer"], header.get("progress"))


def expect(condition, name: str, found) -> None:
    """Raise a ValueError unless a condition holds for what was found."""
    if not condition:
        raise ValueError(f"{name}: {reprlib.repr(found)}")


def parse_array(content: bytes) -> np.ndarray:
    """Read an array from all the bytes of a ``.npy`` file.

    `numpy.load` reads as many bytes as the array's own header says, and never gets to the zip's
    checksum if these are fewer than there are. Here the bytes have passed that check already, and
    all of them must be needed. A changed header can't make memory be taken, either.
    """
    file = io.BytesIO(content)
    expect(np.lib.format.read_magic(file) == (1, 0), "version of an array", content[:8])
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    expect(dtype.kind in "fiuU" and dtype.isnative, "type", dtype)
    array = np.frombuffer(content, dtype, offset=file.tell())
    expect(dtype.kind != "f" or np.isfinite(array).all(), "numbers", "not all are finite")
    return array.reshape(shape, order="CF"[is_fortran]).copy()


def unpack(header: dict, arrays: dict) -> Model:
    """Put a model together from header and arrays; whatever they are, take no more memory."""
    config, state = header["network"], arrays["network"]
    sizes = [config[name] for name in ("in_channels", "classes", "base_channels", "depth")]
    expect(all(type(size) is int and 0 < size < 2**31 for size in sizes), "sizes", sizes)
    channels, classes, base, depth = sizes
    widest = base * 2 ** min(depth, 32)
    shapes = {"encoder.0.conv1": (3, 3, channels, base), "head": (1, 1, base, classes)}
    shapes["bottleneck.conv2"] = (3, 3, widest, widest)
    for name, shape in shapes.items():  # no network is made unless the largest weights are there
        expect(state[f"{name}.weight"].shape == shape, f"shape of {name}", shape)
    for name, array in state.items():
        expect(array.dtype == np.float32, f"type of {name}", array.dtype)
        expect("variance" not in name or (array >= 0).all(), name, "negative")
    network = UNet(**config)
    network.load_state_dict(state)

    standardization = Standardization(**arrays["standardization"])
    mean, std = standardization.mean, standardization.std
    expect(mean.shape == std.shape == (channels,) and (std > 0).all(), "standardization", std)
    known = arrays["training_features"]
    if known:
        features, folds = known["features"], known["folds"]
        expect(features.dtype == np.float32 and len(known) == 2, "features", features.dtype)
        expect(features.shape == (len(folds), base), "features", features.shape)
        expect(folds.ndim == 1 and folds.dtype.kind == "i", "folds", folds)
    told = {name: header[name] for name in IN_HEADER}
    names, ignored, metadata, threshold = told.values()
    expect(all(name == plain(name) for name in names), "class names", names)
    expect(ignored is None or type(ignored) is int, "ignore_index", ignored)
    if metadata.get("class_table"):
        parse_class_table(metadata["class_table"])
        ImageFormat(**metadata["image_format"])
    is_share = type(threshold) is float and 0 < threshold < 1 and classes == 2
    expect(threshold is None or is_share, "threshold", threshold)
    return Model(network.eval(), standardization, training_features=known, **told)
