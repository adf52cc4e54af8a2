"""``tinyunet train``: a network learns from a folder of images."""

from tinyunet.distributed import mpi
from tinyunet.errors import UserError
from tinyunet.training.config import PAPER, TrainingConfig
from tinyunet.training.trainer import settings_to_resume, train


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
        result = train(config, communicator=communicator)
    if communicator.is_main_process:
        print(f"Validation mean IoU {result.best_mean_iou or 0:.3f} at step {result.best_step}.")
        pictures = ", ".join(sorted(path.name for path in result.out.glob("*.png")))
        print(f"The model is {result.out / 'model.npz'}; look at {pictures}.")
