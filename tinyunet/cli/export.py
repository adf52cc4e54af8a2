"""``tinyunet export``: a model for QGIS and for other programs."""

from typing import Annotated

from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.export.onnx_file import export_onnx
from tinyunet.hints import Range


def run_export(
    model: str,
    *,
    out: Annotated[str, "FILE"],
    tile: Annotated[int, Range(1, 10**6)] = 512,
    resolution: Annotated[float | None, "CM"] = None,
) -> None:
    """Write a model as an ONNX file, for QGIS.

    Parameters
    ----------
    model : str
        The model file, such as RUN/model.npz.
    out : str
        The file to write, such as model.onnx.
    tile : int
        Height and width of the images that the file takes, in pixels.
    resolution : float, optional
        Size of a pixel on the ground, in cm.
    """
    use_device("cpu")
    exported = load_model(model)
    export_onnx(exported, out, tile=tile, resolution=resolution)
    print(f"{out} is a valid ONNX file, for onnxruntime and for QGIS (Plugins > Deepness, model")
    print(f"type Segmentor, tile size {tile}).")
    if (exported.threshold or 0.5) < 0.5:
        print(f"Deepness finds {exported.class_names[1]} only where its probability is above 0.5,")
        print(f"predict where it is above {exported.threshold}: it finds more.")
