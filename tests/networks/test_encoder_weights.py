import os
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save, save_file

from experiments import ROOT, equal
from spatial_reduction.networks import encoder_weights
from spatial_reduction.networks.encoder_weights import (
    fetch_encoder,
    find_package,
    load_encoder,
    read_weights,
    rename_packaged,
)
from spatial_reduction.runtime.errors import InputError

LITE0 = "tf_efficientnet_lite0"
SMALL = "test_efficientnet"  # timm's own for tests: 0.4 million weights
DOGS_AND_CATS = {*range(151, 269), *range(281, 286)}  # of ImageNet's 1,000 classes


@pytest.fixture(scope="module")
def packaged():
    return rename_packaged(read_weights(find_package()))


def small_weights(**changes):
    torch.manual_seed(0)
    return timm.create_model(SMALL).state_dict() | changes


def test_the_package_has_every_weight_of_timms_network_in_its_shape(packaged):
    expected = timm.create_model(LITE0).state_dict()
    assert {name: tensor.shape for name, tensor in packaged.items()} == {n: t.shape for n, t in expected.items()}


@pytest.mark.real_data
def test_its_classifier_knows_cats_and_dogs(packaged, real_data):
    network = timm.create_model(LITE0).eval()
    network.load_state_dict(packaged)
    shown = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    pictures = sorted((real_data / "oxford-iiit-pet/images").glob("*.jpg"))[::25]
    with torch.inference_mode():
        found = network(torch.stack([shown(Image.open(path).convert("RGB")) for path in pictures])).argmax(dim=1)
    right = sum(value in DOGS_AND_CATS for value in found.tolist())
    assert len(pictures) == 16
    assert right >= 12  # 123 of the 1,000 classes: by chance 2


def test_a_weight_that_is_not_of_the_network_is_named():
    with pytest.raises(InputError, match=r"_blocks\.16\._bn0\.weight is no weight of EfficientNet-Lite0"):
        rename_packaged({"_blocks.16._bn0.weight": torch.zeros(1)})


def test_a_damaged_package_is_refused(tmp_path, monkeypatch):
    package = tmp_path / encoder_weights.PACKAGE / "models"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "lite0-57934424.pth").write_bytes(b"damaged")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"lite0-57934424\.pth: damaged, its checksum"):
        find_package()


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_of_the_users_is_taken_by_name(tmp_path, suffix):
    given, path = small_weights(), tmp_path / f"given.{suffix}"
    save_file(given, path) if suffix == "safetensors" else torch.save({"state_dict": given}, path)
    fetch_encoder(SMALL, str(path), tmp_path / "weights.safetensors")
    assert equal(load_encoder(tmp_path / "weights.safetensors", SMALL), given)


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    torch.save({"conv_stem.weight": Bomb(tmp_path / "exploded")}, tmp_path / "given.pth")
    with pytest.raises(InputError, match=r"given\.pth: no file of tensors alone") as error:
        read_weights(tmp_path / "given.pth")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conv_stem.weight": torch.zeros(1)}, r"conv_stem\.weight has the shape \(1,\), expected \(\d+, 3, 3, 3\)"),
        ({"conv_stem.weight": None}, r"conv_stem\.weight is missing"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_leave_nothing(tmp_path, changes, reason):
    given = {name: tensor for name, tensor in small_weights(**changes).items() if tensor is not None}
    save_file(given, tmp_path / "given.safetensors")
    with pytest.raises(InputError, match=rf"given\.safetensors: not weights of {SMALL}: {reason}"):
        fetch_encoder(SMALL, str(tmp_path / "given.safetensors"), tmp_path / "weights.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["given.safetensors"]


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pth: there is no such file"):
        fetch_encoder(SMALL, str(tmp_path / "absent.pth"), tmp_path / "weights")


class Hub(BaseHTTPRequestHandler):
    """Serves one file of weights as timm's hub does; its checksum is in the answer's head."""

    body = b""
    stated = ""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()
        self.wfile.write(self.body)

    def answer(self):
        self.send_response(200 if self.path.endswith("/model.safetensors") else 404)
        self.send_header("Content-Length", str(len(self.body)))
        self.send_header("ETag", f'"{self.stated}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def log_message(self, *_):
        pass


FETCH = """
from spatial_reduction.networks.encoder_weights import fetch_encoder
from spatial_reduction.runtime.errors import InputError
import sys
try:
    fetch_encoder(sys.argv[1], "imagenet", sys.argv[2])
except InputError as error:
    sys.exit(str(error))
"""


def fetch_from(address, output):
    """Fetch in a process of its own: the hub's address is read once."""
    environment = os.environ | {"HF_ENDPOINT": address, "PYTHONPATH": str(ROOT / "scripts"), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", FETCH, SMALL, str(output)], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_the_hubs_weights_are_fetched_and_their_checksum_compared(hub, tmp_path, monkeypatch):
    body = save(small_weights())
    monkeypatch.setattr(Hub, "body", body)
    monkeypatch.setattr(Hub, "stated", sha256(body).hexdigest())
    done = fetch_from(hub, tmp_path / "weights.safetensors")
    assert done.returncode == 0, done.stderr
    assert equal(load_encoder(tmp_path / "weights.safetensors", SMALL), small_weights())
    assert load_file(tmp_path / "weights.safetensors").keys() == small_weights().keys()
    monkeypatch.setattr(Hub, "stated", sha256(b"another file").hexdigest())
    refused = fetch_from(hub, tmp_path / "again.safetensors")
    assert refused.returncode == 1
    assert "the checksum of what came differs" in refused.stderr
    assert not (tmp_path / "again.safetensors").exists()


def test_without_a_hub_the_way_out_is_named(tmp_path):
    refused = fetch_from("http://127.0.0.1:9", tmp_path / "weights.safetensors")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()[-1:]
    assert line.startswith("model.weights: timm/test_efficientnet.")
    assert "cannot be fetched from timm's hub" in line
    assert line.endswith("name a file of weights")
