"""``tinyunet export``: a model for QGIS and for other programs."""

from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.export.onnx_file import export_onnx


def run_export(options) -> None:
    """Write a model as an ONNX file, and say what to do with it."""
    use_device("cpu")
    model = load_model(options.model)
    export_onnx(model, options.out, tile=options.tile, resolution=options.resolution)
    print(f"{options.out} is ready for onnxruntime, and for QGIS: Plugins > Deepness, model type")
    print(f"Segmentor, tile size {options.tile}; it checked out as a valid ONNX file.")
    if model.threshold is not None and model.threshold < 0.5:
        print(
            f"Unlike predict, Deepness never finds {model.class_names[1]} where its probability "
            f"is below 0.5, so its map has less of it: the model's threshold is {model.threshold}."
        )
