import json

import numpy as np
import onnxruntime
import pytest
import torch

from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.networks.onnx_export import export_model
from spatial_reduction.runtime.errors import InputError

CLASSES = ["background", "pet"]
UNPADDED = {"name": "unet", "widths": [2, 3], "padding": "valid", "dropout": 0.5, "initialisation": "he"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(network, ONNX session) of an unpadded network; a padded one is exported in test_workflow.py. 10 seconds."""
    folder = tmp_path_factory.mktemp("exported")
    network = build_model(1, 2, UNPADDED, seed=1).eval()
    save_model(folder / "model.safetensors", network)
    export_model(folder / "model.safetensors", folder / "model.onnx", CLASSES, image_size=16, colour="grey")
    return network, onnxruntime.InferenceSession(folder / "model.onnx")


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 37, 53), (2, 8, 12), (1, 1, 2)])
def test_onnxruntime_computes_what_the_network_does_for_any_batch_and_size(exported, size):
    network, session = exported
    images = torch.rand(size[0], 1, *size[1:], generator=torch.Generator().manual_seed(0))
    (logits,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = network(images).numpy()
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() < 1e-4 < expected.std()


def test_the_file_says_what_goes_in_and_what_comes_out(exported):
    session = exported[1]
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(float)", ["batch", 1, "height", "width"])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 2, "height", "width"])
    about = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert about == {"classes": CLASSES, "image_size": 16, "colour": "grey", "stride": 1}


def test_a_model_of_other_classes_is_refused_and_leaves_nothing(tmp_path):
    save_model(tmp_path / "model", build_model(1, 2, UNPADDED, seed=1))
    with pytest.raises(InputError, match="model of another architecture"):
        export_model(tmp_path / "model", tmp_path / "model.onnx", ["one", "two", "three"], 16, "grey")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
