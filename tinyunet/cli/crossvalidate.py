"""``tinyunet crossvalidate``: how much a random split of these images flatters.

The images are cut into tiles. Each tile is judged once, by a network that was trained on the tiles
of the other folds. In a *random* split the neighbors of a judged tile are among those; in a
*spatial* one the folds are regions, and nothing trains that lies within the receptive field of a
judged tile: it is judged as new land would be. The tiles, how many of them train, and the networks
are the same for both, so the difference of the scores is what the neighbors gave away.
"""

import json
from typing import Annotated, Literal

from tinyunet.atomic_io import make_folder, save_text
from tinyunet.backend import use_device
from tinyunet.data.splits import cut_into_tiles, folds_of
from tinyunet.hints import Range
from tinyunet.inference.evaluation import Scores, evaluate, format_score
from tinyunet.progress import is_watched, tqdm
from tinyunet.training.config import TrainingConfig
from tinyunet.training.setup import Training, load_training, new_model, receptive_field


def run_crossvalidate(
    *,
    out: Annotated[str, "DIR"],
    folds: Annotated[int, Range(2, 100)] = 5,
    split: Literal["random", "spatial", "random,spatial"] = "random,spatial",
    base_channels: Annotated[int, Range(1, 4096)] = 8,
    steps: Annotated[int, Range(1, 10**9)] = 300,
    **settings,
) -> None:
    """Measure how much a random split of these images flatters a network.

    Parameters
    ----------
    out : str
        Folder for the scores.
    folds : int
        Number of parts, each of which is judged once.
    split : str
        How tiles are divided: at random, by region, or both.
    base_channels : int
        Number of channels of the first level.
    steps : int
        Number of training steps of each network.
    **settings
        As in `TrainingConfig`.
    """
    config = TrainingConfig(out=out, base_channels=base_channels, steps=steps, **settings)
    config.check()
    use_device(config.device)
    dataset = cut_into_tiles(load_training(config, None, is_watched()), config.crop_size)
    splits, report = split.split(","), {}
    buffer = receptive_field(config)
    with tqdm(None, "training", len(splits) * folds * steps, disable=not is_watched()) as bar:
        for split in splits:
            judged = []
            for training, rest in folds_of(dataset, split, folds, config.seed, buffer):
                model = new_model(config, training, rest)
                for _ in Training(config, model, training).steps(0, config.steps):
                    bar.update()
                judged.append(evaluate(model, rest, threads=config.threads))
            together = Scores(sum(fold.confusion for fold in judged), model.ignore_index)
            of_folds = [fold.mean_iou for fold in judged]
            report[split] = together.as_json(model.class_names) | {"mean_iou_of_folds": of_folds}
            each = ", ".join(map(format_score, of_folds))
            bar.write(f"{split}: mean IoU {format_score(together.mean_iou)}; of each fold {each}")
    if len(splits) == 2:
        random, spatial = (report[split]["mean_iou"] or 0 for split in splits)
        report["difference"] = random - spatial
        print(
            f"The random split flatters by {random - spatial:.3f}: it promises a mean IoU of "
            f"{random:.3f}; on regions that the network has not seen it is {spatial:.3f}."
        )
    path = make_folder(out) / "crossvalidation.json"
    save_text(json.dumps(report, indent=2, allow_nan=False) + "\n", path)
    print(f"The scores are in {path}.")
