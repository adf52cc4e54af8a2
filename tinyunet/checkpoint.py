"""A network as a file, written so that no accident can leave a broken one behind.

A model file is an ordinary ``.npz``: a zip of NumPy arrays, which `numpy.load` opens without us.

===========================  ====================================================================
entry                        what it holds
===========================  ====================================================================
``header``                   a JSON text: format, version, the network's settings, class names, ...
``network/NAME``             the parameters and running statistics, by their names
``standardization/mean``     what was subtracted from each channel of the training images ...
``standardization/std``      ... and what they were divided by
``optimizer/NAME``           only in a training state: what the optimizer remembers
===========================  ====================================================================

Two rules make these files safe. *Reading* never unpickles: a pickle can run any program, so a file
from a stranger is opened with ``allow_pickle=False`` and everything in it is checked. *Writing*
happens aside: the new file grows under another name and takes the place of the old one in a single
step when it is complete and on the disk, so that after a power cut the old file is intact.
"""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinyunet.atomic_io import written_aside
from tinyunet.backend import to_device, to_host
from tinyunet.errors import UserError
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

FORMAT = "tinyunet model"
VERSION = 1


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
    """

    network: UNet
    standardization: Standardization
    class_names: list[str] | None = None
    ignore_index: int | None = None
    metadata: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make up names where there are none; raise a UserError if there are too few or many."""
        classes = self.network.config["classes"]
        names = self.class_names
        if names is None:
            names = [f"class {index}" for index in range(classes)]
        if len(names) != classes:
            raise UserError(f"{len(names)} class names for {classes} classes")
        self.class_names = [str(name) for name in names]


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


def save_model(path, model: Model) -> None:
    """Save a network for `load_model`: safely, and with all that predictions need.

    Parameters
    ----------
    path : path
        The file to write, usually ``model.npz``.
    model : Model
        The network and what belongs to it.

    Raises
    ------
    UserError
        If the file can't be written; the file that was there before is untouched.
    """
    write(path, *pack(model))


def save_training_state(path, model: Model, optimizer, progress: dict) -> None:
    """Save all that a run needs to go on: a model file with the optimizer's memory added.

    Parameters
    ----------
    path : path
        The file to write, usually ``last.npz``; `load_model` can read it too.
    model : Model
        The network as it is now, and what belongs to it.
    optimizer : SGD or Adam
        Its `state()` is saved.
    progress : dict
        Where the run stands: the step, the scores so far; anything that JSON can hold.

    Raises
    ------
    UserError
        If the file can't be written; the file that was there before is untouched.
    """
    header, arrays = pack(model)
    header["progress"] = progress
    arrays |= {f"optimizer/{name}": array for name, array in optimizer.state_dict().items()}
    write(path, header, arrays)


def pack(model: Model) -> tuple[dict, dict]:
    """Take a model apart into a header for JSON and arrays."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "network": model.network.config,
        "class_names": model.class_names,
        "ignore_index": model.ignore_index,
        "metadata": model.metadata,
    }
    arrays = {f"network/{name}": array for name, array in model.network.state_dict().items()}
    arrays["standardization/mean"] = model.standardization.mean
    arrays["standardization/std"] = model.standardization.std
    return header, arrays


def write(path, header: dict, arrays: dict) -> None:
    """Write header and arrays as one ``.npz``, aside."""
    text = np.array(json.dumps(header))
    with written_aside(path, on_disk=True) as file:
        np.savez(file, header=text, **{name: to_host(array) for name, array in arrays.items()})


# -- Reading ---------------------------------------------------------------------------------------


def load_model(path) -> Model:
    """Load what `save_model` or `save_training_state` saved, onto the device in use.

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
    header, arrays = read(path)
    return unpack(path, header, arrays)


def load_training_state(path) -> TrainingState:
    """Load what `save_training_state` saved.

    Parameters
    ----------
    path : path
        A training state, usually ``last.npz``.

    Returns
    -------
    TrainingState
        The model, the optimizer's memory on the device in use, and the progress.

    Raises
    ------
    UserError
        As `load_model`; also if the file is a model without the state of its training.
    """
    header, arrays = read(path)
    if "progress" not in header:
        raise UserError(f"{path} is a model, not the state of a training run: last.npz holds that")
    optimizer = {name: to_device(array) for name, array in part(arrays, "optimizer/").items()}
    return TrainingState(unpack(path, header, arrays), optimizer, header["progress"])


def read(path) -> tuple[dict, dict]:
    """Read header and arrays of a model file; whatever is wrong with it becomes one clear line."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no such model file: {path}")
    with open_file(path) as file:
        start = file.read(4)
        if start != b"PK\x03\x04":  # how every zip begins
            what = "is empty" if not start else "is not a tinyunet model file (.npz)"
            raise UserError(f"{path} {what}")
        # The file may come from anywhere, so any exception below is the file's fault, not ours.
        try:
            with zipfile.ZipFile(file) as archive:
                stored = sum(entry.file_size for entry in archive.infolist())
            if stored > path.stat().st_size:  # ours are not compressed: this one would swell up
                raise UserError(f"{path} is not a tinyunet model file: its parts are compressed")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                if "header" not in archive.files:
                    raise UserError(f"{path} is not a tinyunet model file: it has no header")
                header = json.loads(str(archive["header"]))
                check_header(path, header)
                arrays = {name: archive[name] for name in archive.files if name != "header"}
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{path} is damaged or not a tinyunet model file: {error}") from error
    return header, arrays


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading, or say why not."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def check_header(path, header) -> None:
    """Raise a UserError unless the header is one that this version can read."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(f"{path} is not a tinyunet model file")
    version = header.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise UserError(
            f"{path} has format version {version}, from a newer tinyunet; this one reads up to "
            f"{VERSION}: pip install --upgrade tinyunet"
        )


def unpack(path, header: dict, arrays: dict) -> Model:
    """Put a model together from header and arrays."""
    try:
        network = UNet(**header["network"])
        network.load_state_dict(part(arrays, "network/"))
        network.eval()
        standardization = Standardization(**part(arrays, "standardization/"))
        others = (header[name] for name in ("class_names", "ignore_index", "metadata"))
        return Model(network, standardization, *others)
    except Exception as error:  # again: whatever fails here, the file's content is the reason
        raise UserError(f"{path} is inconsistent: {error}") from error


def part(arrays: dict, prefix: str) -> dict:
    """Pick the arrays whose name starts with `prefix`, without it."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
