"""``tinyunet train``: a network learns from a folder of images."""

from pathlib import Path

from tinyunet.checkpoint import load_model
from tinyunet.distributed import mpi
from tinyunet.errors import UserError
from tinyunet.training.config import PAPER, TrainingConfig, settings_in
from tinyunet.training.run_folder import settings_to_resume
from tinyunet.training.trainer import train


def run_train(options) -> None:
    """Train a network; under ``mpiexec``, with the other processes that it started."""
    typed = (PAPER if options.paper else {}) | settings_in(options)
    with mpi.find_communicator() as communicator:
        if typed.pop("resume", False):
            config = settings_to_resume(typed.pop("out"), **typed)
        else:
            config = TrainingConfig(**typed)
            if "momentum" in typed and config.optimizer != "sgd":
                raise UserError("--momentum goes with --optimizer sgd")
        try:
            result = train(config, communicator=communicator)
        except KeyboardInterrupt as stop:
            kept = (Path(config.out) / "last.npz").exists()
            raise KeyboardInterrupt(
                "; resume from the last checkpoint with --resume" * kept
            ) from stop
    if communicator.is_main_process:
        print(f"Validation mean IoU {result.best_mean_iou or 0:.3f} at step {result.best_step}.")
        model = load_model(Path(config.out) / "model.npz")
        if model.threshold is not None:
            curve = model.metadata["validation"]["mean_iou_by_threshold"]
            print(
                f"A pixel is {model.class_names[1]} where its probability is above "
                f"{model.threshold:.2f}: the validation mean IoU is "
                f"{curve[round(100 * model.threshold) - 1]:.3f} there, and {curve[49]:.3f} at 0.50."
            )
        print(f"The model is {Path(config.out) / 'model.npz'}; look at preview.png and curves.png.")
