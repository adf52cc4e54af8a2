"""``tinyunet export``: a model for QGIS and for other programs."""

from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.export.onnx_file import export_onnx


def run_export(options) -> None:
    """Write a model as an ONNX file, and say what to do with it."""
    use_device("cpu")
    export_onnx(
        load_model(options.model), options.out, tile=options.tile, resolution=options.resolution
    )
    print(f"{options.out} is ready for onnxruntime, and for QGIS: Plugins > Deepness, model type")
    print(f"Segmentor, tile size {options.tile}; it checked out as a valid ONNX file.")
