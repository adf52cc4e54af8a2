"""``tinyunet crossvalidate``: how much a random split of these images flatters.

The images are cut into tiles. Each tile is judged once, by a network that was trained on the tiles
of the other folds. In a *random* split the neighbors of a judged tile are among those; in a
*spatial* one the folds are regions, and nothing trains that lies within the receptive field of a
judged tile: it is judged as new land would be. The tiles, how many of them train, and the networks
are the same for both, so the difference of the scores is what the neighbors gave away.
"""

import json

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.backend import use_device
from tinyunet.data.splits import cut_into_tiles, folds_of
from tinyunet.inference.evaluation import Scores, evaluate
from tinyunet.plots.pictures import draw_folds
from tinyunet.progress import is_watched, tqdm
from tinyunet.training.config import TrainingConfig, settings_in
from tinyunet.training.datasets import load_training, receptive_field
from tinyunet.training.setup import Training, new_model


def run_crossvalidate(options) -> None:
    """Train and judge a network for each fold of each split; print and leave what came out."""
    config = TrainingConfig(**settings_in(options))
    config.check()
    use_device(config.device)
    dataset = cut_into_tiles(load_training(config, None, is_watched()), config.crop_size)
    splits, found = options.split.split(","), {}
    buffer = receptive_field(config.depth)
    total = len(splits) * options.folds * config.steps
    with tqdm(total=total, desc="training", unit="step", disable=not is_watched()) as bar:
        for split in splits:
            found[split] = []
            for training, judged in folds_of(dataset, split, options.folds, config.seed, buffer):
                model = new_model(config, training, judged)
                for _ in Training(config, model, training).steps(0, config.steps):
                    bar.update()
                found[split].append(evaluate(model, judged, threads=config.threads))
    names, together, report = model.class_names, {}, {}
    print("split     mean IoU   of each fold")
    for split, folds in found.items():
        confusion = sum(scores.confusion for scores in folds)
        scores = together[split] = Scores.from_confusion(confusion, model.ignore_index)
        each = [fold.mean_iou for fold in folds]
        report[split] = scores.as_json(names) | {"mean_iou_of_folds": each}
        shown = " ".join("-" if value is None else f"{value:.3f}" for value in each)
        print(f"{split:8} {scores.mean_iou or 0:9.3f}   {shown}")
    if len(together) == 2:
        random, spatial = (scores.mean_iou or 0 for scores in together.values())
        report["difference"] = random - spatial
        print(
            f"\nThe random split flatters by {random - spatial:.3f}: it promises a mean IoU\n"
            f"of {random:.3f}; on regions that the network has not seen it is {spatial:.3f}."
        )
    out = make_folder(options.out)
    save_text(json.dumps(report, indent=2, allow_nan=False) + "\n", out / "crossvalidation.json")
    save_picture(draw_folds(found, together, names), out / "crossvalidation.png")
    print(f"In {out}: crossvalidation.json and crossvalidation.png.")
