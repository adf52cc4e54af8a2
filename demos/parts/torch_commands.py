"""What ``tinyunet train`` and ``tinyunet predict`` do, with the network in PyTorch.

    python -m parts.torch_commands train torch IMAGES MASKS MODEL.pt STEPS
    python -m parts.torch_commands predict torch-channels-last MODEL.pt SCENE.png MAP.png

The settings are the defaults of the commands: base 16, depth 4, batch normalization, 8 crops of
128 x 128 a step, (fused) Adam with the same schedule, a checkpoint and a validation each 100 steps;
tiles of 512 with a margin of 64.
"""

import sys

import numpy as np
import torch
from PIL import Image
from to_pytorch import UNet

from tinyunet.data.dataset import load_pairs
from tinyunet.data.pairing import find_pairs
from tinyunet.distributed.replicas import available_cores
from tinyunet.nn.schedules import cosine
from tinyunet.nn.standardization import Standardization
from tinyunet.training.loop import random_batches

TILE, MARGIN = 512, 64


def network(classes: int, memory_format) -> UNet:
    """Make the network that ``tinyunet train`` makes."""
    made = UNet(3, classes, 16, 4, padding="same", upsampling="transpose", norm="batch", dropout=0)
    return made.to(memory_format=memory_format)


def as_tensor(images: np.ndarray, memory_format) -> torch.Tensor:
    """Turn images (N, H, W, C) into a tensor (N, C, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)


def train(memory_format, images: str, masks: str, model: str, steps: str) -> None:
    """Train on a folder of images, and save the network."""
    everything = load_pairs(find_pairs(images, masks))
    training, validation = everything.split(0.2, seed=0)
    standardization = Standardization.fit(training.valid_pixels())
    classes, steps = len(everything.table.names), int(steps)
    unet = network(classes, memory_format)
    optimizer = torch.optim.Adam(unet.parameters(), fused=True)
    schedule = cosine(1e-3, steps, warmup_steps=50)
    loss = torch.nn.CrossEntropyLoss()
    draw_batch = random_batches(training, standardization, batch_size=8, crop_size=128)
    for step in range(steps):
        batch, labels = draw_batch(step)
        optimizer.param_groups[0]["lr"] = schedule(step)
        optimizer.zero_grad()
        value = loss(unet(as_tensor(batch, memory_format)), torch.from_numpy(labels).long())
        value.backward()
        optimizer.step()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            unet.eval()
            right = pixels = 0
            for k in range(len(validation)):
                image, mask, _ = validation.pair(k)
                found = classify(unet, standardization.transform(image), memory_format)
                right, pixels = right + (found == mask).sum(), pixels + mask.size
            print(f"step {step + 1}: loss {value.item():.3f}, val accuracy {right / pixels:.3f}")
            unet.train()
            mean_and_std = [standardization.mean.tolist(), standardization.std.tolist()]
            torch.save({"weights": unet.state_dict(), "standardization": mean_and_std}, model)


def classify(unet: UNet, image: np.ndarray, memory_format) -> np.ndarray:
    """Give the class of each pixel of a standardized image (H, W, C)."""
    with torch.inference_mode():
        return unet(as_tensor(image[np.newaxis], memory_format))[0].argmax(0).numpy()


def predict(memory_format, model: str, scene: str, result: str) -> None:
    """Draw the map of a scene, tile by tile."""
    saved = torch.load(model)
    unet = network(len(saved["weights"]["head.bias"]), memory_format)
    unet.load_state_dict(saved["weights"])
    unet.eval()
    standardization = Standardization(*map(np.float32, saved["standardization"]))
    Image.MAX_IMAGE_PIXELS = None
    image = np.array(Image.open(scene))
    height, width, _ = image.shape
    classes = np.empty((height, width), np.uint8)
    border = [(MARGIN, MARGIN + -height % 16), (MARGIN, MARGIN + -width % 16), (0, 0)]
    image = np.pad(image, border, mode="reflect")
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            rows, columns = (slice(k, k + TILE + 2 * MARGIN) for k in (top, left))
            window = standardization.transform(image[rows, columns])
            found = classify(unet, window, memory_format)[MARGIN:-MARGIN, MARGIN:-MARGIN]
            tile = classes[top : top + TILE, left : left + TILE]
            tile[...] = found[: tile.shape[0], : tile.shape[1]]
    Image.fromarray(classes).save(result)


if __name__ == "__main__":
    torch.set_num_threads(available_cores())
    command, side, *words = sys.argv[1:]
    layout = torch.channels_last if side.endswith("last") else torch.contiguous_format
    {"train": train, "predict": predict}[command](layout, *words)
