"""``tinyunet train``: a network learns from a folder of images."""

from pathlib import Path

from tinyunet.checkpoint import load_model
from tinyunet.distributed import mpi
from tinyunet.errors import UserError
from tinyunet.training.config import PAPER, TrainingConfig
from tinyunet.training.run_folder import settings_to_resume
from tinyunet.training.trainer import train


def run_train(*, paper: bool = False, **typed) -> None:
    """Train a network on images and their masks.

    Under ``mpiexec``, with the other processes that it started.

    Parameters
    ----------
    paper : bool
        Train as the U-Net paper did: valid padding, crops of 572, one a batch, elastic deformation,
        weight map, dropout, SGD; other options go before this one.
    **typed
        As in `TrainingConfig`; what is left out has its usual value, or that of the resumed run.
    """
    typed = (PAPER if paper else {}) | typed
    with mpi.find_communicator() as communicator:
        if typed.pop("resume", False):
            config = settings_to_resume(typed.pop("out"), **typed)
        else:
            config = TrainingConfig(**typed)
            if "momentum" in typed and config.optimizer != "sgd":
                raise UserError("--momentum goes with --optimizer sgd")
        folder = Path(config.out)
        try:
            result = train(config, communicator=communicator)
        except KeyboardInterrupt as stop:
            hint = "; resume from the last checkpoint with --resume"
            kept = (folder / "last.npz").exists()
            raise KeyboardInterrupt(hint * kept) from stop
    if communicator.is_main_process:
        print(f"Validation mean IoU {result.best_mean_iou or 0:.3f} at step {result.best_step}.")
        model = load_model(folder / "model.npz")
        if model.threshold is not None:
            curve = model.metadata["validation"]["mean_iou_by_threshold"]
            print(f"A pixel is {model.class_names[1]} where its probability is above")
            print(f"{model.threshold:.2f}; with 0.50 the mean IoU would be {curve[49]:.3f}.")
        print(f"The model is {folder / 'model.npz'}; look at preview.png and curves.png.")
