"""Spaces of a network's features: as torchvision computes them, and what files are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models
from torchvision.transforms import functional

from memo.artifacts.layout import Layout
from memo.datasets.pictures import sampled_pixels
from memo.execution.processes import InProcess
from memo.experiments import sampling
from memo.experiments.log_likelihoods import scored_densities
from memo.experiments.sampled.words import space_fact
from memo.pipeline.neighbors import neighbors
from memo.pipeline.prepare import prepare
from memo.pipeline.sample import sample
from memo.pipeline.train import train
from memo.project.reading import SpecError, read_project
from memo.samples.spaces import EmbeddingError
from memo.samples.vision_network import vision_embedding
from tests.in_process import load

torch.set_num_threads(1)
CPU = torch.device("cpu")
COLOUR = (3, 12, 10)


def network(name: str = "squeezenet1_1", seed: int = 0, **more: object) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return models.get_model(name, weights=None, **more).eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    squeezed, few = network().state_dict(), network(num_classes=7).state_dict()
    torch.save(squeezed, folder / "squeezed.pth")
    save_file(few, folder / "few.safetensors")
    torch.save({"state_dict": squeezed}, folder / "nested.pth")
    torch.save(network(), folder / "whole.pth")
    torch.save(squeezed | {"features.0.bias": torch.full((64,), torch.nan)}, folder / "nan.pth")
    (folder / "text.pth").write_text("no weights")
    (folder / "text.safetensors").write_text("no weights")
    return {path.name: path for path in folder.iterdir()}


def images(count: int = 3, shape: tuple[int, ...] = COLOUR) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def test_features_are_those_of_torchvision(weights: dict[str, Path]) -> None:
    before = torch.get_rng_state()
    found = vision_embedding("squeezenet1_1", str(weights["squeezed.pth"]), None, COLOUR, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    x = images()
    resized = functional.resize(x, [224, 224], antialias=True)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    with torch.no_grad():
        features = network().features(functional.normalize(resized, mean, std))
        torch.testing.assert_close(found(x), features.relu().mean((2, 3)))
        assert found(x).shape == (3, 512)


def test_a_layer_a_grey_image_and_other_classes(weights: dict[str, Path]) -> None:
    layer = "features.1"
    found = vision_embedding(
        "squeezenet1_1", str(weights["few.safetensors"]), layer, (1, 9, 9), CPU
    )
    grey = images(2, (1, 9, 9))
    resized = functional.resize(grey.repeat(1, 3, 1, 1), [224, 224], antialias=True)
    x = functional.normalize(resized, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = network(num_classes=7).features[:2](x).flatten(1)
        torch.testing.assert_close(found(grey), expected)


def test_inception_takes_what_its_own_weights_take(tmp_path: Path) -> None:
    own = network("inception_v3", init_weights=False)
    torch.save(own.state_dict(), tmp_path / "inception.pth")
    found = vision_embedding("inception_v3", str(tmp_path / "inception.pth"), None, COLOUR, CPU)
    own.transform_input, own.fc = True, torch.nn.Identity()
    resized = functional.resize(images(1), [299, 299], antialias=True)
    x = functional.normalize(resized, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        torch.testing.assert_close(found(images(1)), own(x))


@pytest.mark.parametrize(
    "model, file, layer, shape, message",
    [
        ("squeezenet1_1", "none.pth", None, COLOUR, "none.pth: weights cannot be read: No such"),
        ("squeezenet1_2", "squeezed.pth", None, COLOUR, "did you mean 'squeezenet1_1'"),
        ("resnet18", "squeezed.pth", None, COLOUR, "no state dict of resnet18: it lacks conv1.w"),
        ("squeezenet1_0", "squeezed.pth", None, COLOUR, r"other shapes features.0.weight \(64, 3"),
        ("squeezenet1_1", "nested.pth", None, COLOUR, "a dict of 'state_dict', and no state dict"),
        ("squeezenet1_1", "whole.pth", None, COLOUR, "holds more than tensors"),
        ("squeezenet1_1", "text.pth", None, COLOUR, "holds more than tensors, or is no file"),
        ("squeezenet1_1", "text.safetensors", None, COLOUR, "is no whole file of weights"),
        ("squeezenet1_1", "nan.pth", None, COLOUR, "not finite: features.0.bias"),
        ("squeezenet1_1", "squeezed.pth", "features.99", COLOUR, "no layer 'features.99'"),
        ("squeezenet1_1", "squeezed.pth", None, (5,), "for grey and colour images"),
        ("squeezenet1_1", "squeezed.pth", None, (2, 8, 8), "not for observations of 2 x 8 x 8"),
    ],
)
def test_what_is_wrong_is_said(
    weights: dict[str, Path],
    model: str,
    file: str,
    layer: str | None,
    shape: tuple[int, ...],
    message: str,
) -> None:
    path = weights.get(file, Path(file))
    with pytest.raises(EmbeddingError, match=message):
        vision_embedding(model, str(path), layer, shape, CPU)


PROJECT = """\
files:
  small: {kind: image-folder, path: images, values: continuous}
experiments:
  features:
    dataset: small
    model: {kind: kde, bandwidth: 0.3}
    training: {}
    mitigations: []
    scoring:
      design: {kind: k-fold, folds: 2, repeats: 2}
      epochs: []
      likelihood: {kind: samples, max_samples: 1000, space: SPACE}
      neighbors: {space: SPACE, tests: [], samples: 3}
    seed: 3
"""


def space(path: Path) -> str:
    return f"{{kind: torchvision, model: squeezenet1_1, weights: {path}, components: 2}}"


def test_distances_and_densities_are_of_components_of_features_and_change_with_the_file(
    weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    stream = np.random.default_rng(0)
    for number in range(12):
        pixels = stream.integers(0, 256, (2, 2, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:02}.png")
    file = tmp_path / "squeezed.pth"
    file.write_bytes(weights["squeezed.pth"].read_bytes())
    (tmp_path / "params.yaml").write_text(PROJECT.replace("SPACE", space(file)))
    prepare(read_project(tmp_path / "params.yaml"), Layout(tmp_path), "small")
    experiment = load(tmp_path, "features")
    train(experiment, InProcess())
    sample(experiment)
    found = neighbors(experiment)

    embedding = vision_embedding("squeezenet1_1", str(file), None, (3, 2, 2), CPU)
    with torch.no_grad():
        features = embedding(torch.from_numpy(pixels_of(tmp_path))).double()
        levels = sampled_pixels(experiment.data, experiment.read_samples())
        drawn = embedding(torch.from_numpy(levels)).double() - features.mean(0)
    centred = features - features.mean(0)
    left, strengths, axes = torch.linalg.svd(centred, full_matrices=False)
    rows = left[:, :2] * strengths[:2]
    distances = torch.cdist(rows, drawn @ axes[:2].T).amin(1)
    assert found["distance_sample"].to_numpy() == pytest.approx(distances.numpy(), rel=1e-4)

    def hashes() -> list[str]:
        density = scored_densities(experiment)[0]
        found = [sampling.tests_fingerprint(experiment), density.fingerprint(experiment)]
        return [*found, *space_fact(experiment).values()]

    before = hashes()
    assert before == hashes()
    torch.save(network(seed=1).state_dict(), file)
    assert not set(before) & set(hashes())


def pixels_of(folder: Path) -> np.ndarray:
    files = sorted((folder / "images").iterdir())
    levels = np.stack([np.asarray(Image.open(file)) for file in files])
    return np.moveaxis(levels, -1, 1).astype(np.float32) / 255


def test_a_table_has_no_such_features(tmp_path: Path) -> None:
    text = PROJECT.replace("SPACE", space(tmp_path / "any.pth")).replace(
        "{kind: image-folder, path: images, values: continuous}",
        "{kind: table, path: points.csv}",
    )
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SpecError, match="'torchvision' is for grey and colour images"):
        read_project(tmp_path / "params.yaml")
