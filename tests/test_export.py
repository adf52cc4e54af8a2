"""An exported network predicts what ours does, in another program, and says what QGIS must know."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyunet.checkpoint import Model, save_model
from tinyunet.cli.main import main
from tinyunet.errors import UserError
from tinyunet.nn.functional import softmax
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'tinyunet[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from tinyunet.export.onnx_file import export_onnx  # noqa: E402


def model_with_statistics(seed, channels=3, classes=3, ignore_index=None, **network):
    """Make a model as training leaves it: running statistics and standardization of its own."""
    rng = np.random.default_rng(seed)
    net = UNet(channels, classes, base_channels=2, seed=seed, **network)
    for name, parameter in net.named_parameters():
        values = rng.uniform(0.5, 2, parameter.data.shape)
        if "running" in name or "gamma" in name or "beta" in name or "bias" in name:
            parameter.data[...] = values
    net.head.weight.data *= 0.1  # so that the logits are of the size that training leaves
    standardization = Standardization(rng.uniform(80, 160, channels), rng.uniform(20, 60, channels))
    names = [f"class {index}" for index in range(classes)]
    return Model(net.eval(), standardization, names, ignore_index)


def run(path, image):
    """Predict as Deepness does: 8-bit values over 255, channels first; gives (H, W, K)."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.float32(image[None].transpose(0, 3, 1, 2) / 255)
    (probabilities,) = session.run(None, {session.get_inputs()[0].name: x})
    return probabilities[0].transpose(1, 2, 0)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 4),
    classes=st.integers(2, 5),
    depth=st.integers(1, 3),
    norm=st.sampled_from([None, "batch"]),
    dropout=st.sampled_from([0.0, 0.3]),
    blocks=st.integers(1, 3),
)
def test_the_exported_network_equals_ours(
    tmp_path_factory, seed, channels, classes, depth, norm, dropout, blocks
):
    model = model_with_statistics(seed, channels, classes, depth=depth, norm=norm, dropout=dropout)
    tile = blocks * 2**depth
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(model, path, tile=tile)
    image = np.random.default_rng(seed).integers(0, 256, (tile, tile, channels)).astype("uint8")
    ours, _ = softmax(model.network(model.standardization.transform(image)[None])[0])
    np.testing.assert_allclose(run(path, image), ours, atol=1e-5)


@pytest.mark.parametrize("option", [{"padding": "valid"}, {"upsampling": "nearest"}])
def test_a_network_that_is_not_the_usual_one_is_refused(tmp_path, option):
    model = model_with_statistics(5, depth=1, **option)
    with pytest.raises(UserError, match="only networks of --padding same and --upsampling trans"):
        export_onnx(model, tmp_path / "model.onnx", tile=28)


def test_the_ignored_class_is_never_chosen(tmp_path):
    model = model_with_statistics(3, depth=1, ignore_index=1)
    export_onnx(model, tmp_path / "model.onnx", tile=6)
    image = np.random.default_rng(1).integers(0, 256, (6, 6, 3)).astype("uint8")
    probabilities = run(tmp_path / "model.onnx", image)
    assert (probabilities[..., 1] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)


def test_a_normalization_leaves_no_node_of_its_own(tmp_path):
    export_onnx(model_with_statistics(0, depth=2, norm="batch"), tmp_path / "m.onnx", tile=8)
    kinds = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert kinds == {"Mul", "Add", "Conv", "Relu", "MaxPool", "ConvTranspose", "Concat", "Softmax"}


def test_qgis_finds_what_it_must_know(tmp_path):
    model = model_with_statistics(0, depth=1)
    export_onnx(model, tmp_path / "model.onnx", tile=64, resolution=12.5)
    stored = onnx.load(tmp_path / "model.onnx")
    found = {entry.key: json.loads(entry.value) for entry in stored.metadata_props}
    assert found["model_type"] == "Segmentor"
    assert found["class_names"] == {"0": "class 0", "1": "class 1", "2": "class 2"}
    assert (found["tile_size"], found["tiles_size"], found["resolution"]) == (64, 64, 12.5)
    # An overlap of at least the reach of the network: no seams.
    assert found["tiles_overlap"] / 100 * 64 >= model.network.receptive_field // 2
    assert [dim.dim_value for dim in stored.graph.input[0].type.tensor_type.shape.dim] == [
        *(1, 3, 64, 64)
    ]


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_deepness_reads_the_threshold_and_one_that_it_cannot_follow_is_named(
    tmp_path, capsys, threshold
):
    model = model_with_statistics(0, classes=2, depth=1)
    model.threshold = threshold
    save_model(tmp_path / "model.npz", model)
    arguments = [tmp_path / "model.npz", "--out", tmp_path / "model.onnx", "--tile", 8]
    assert main(["export", *map(str, arguments)]) == 0
    stored = onnx.load(tmp_path / "model.onnx").metadata_props
    assert {entry.key: entry.value for entry in stored}["seg_thresh"] == str(threshold)
    assert ("Deepness asks for a probability above 0.5" in capsys.readouterr().out) == (
        threshold < 0.5
    )


def test_a_tile_that_does_not_fit_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="height 30 is not divisible by 4; nearest that fit: 28"):
        export_onnx(model_with_statistics(0, depth=2), tmp_path / "model.onnx", tile=30)
    with pytest.raises(UserError, match="resolution 0: give the size of a pixel in cm"):
        export_onnx(model_with_statistics(0, depth=1), tmp_path / "m.onnx", tile=8, resolution=0)
    assert not list(tmp_path.iterdir())


def test_a_model_of_other_numbers_than_8_bits_is_refused(tmp_path):
    model = model_with_statistics(0, depth=1)
    model.metadata["image_format"] = {"dtype": "uint16", "color": "RGB", "band_names": []}
    with pytest.raises(
        UserError, match="QGIS gives 8-bit images, and the model was trained on uint16"
    ):
        export_onnx(model, tmp_path / "model.onnx", tile=8)


def test_the_command_writes_a_file_and_says_what_to_do_with_it(tmp_path, capsys):
    model = model_with_statistics(0, depth=1)
    save_model(tmp_path / "model.npz", model)
    out = tmp_path / "model.onnx"
    arguments = ["export", str(tmp_path / "model.npz"), "--out", str(out), "--tile", "32"]
    assert main(arguments) == 0
    assert f"{out} is a valid ONNX file, for onnxruntime and for QGIS" in capsys.readouterr().out
    assert main([*arguments[:-1], "33"]) == 2
    assert "height 33 is not divisible by 2" in capsys.readouterr().err
