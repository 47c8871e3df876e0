"""Every kind of data set x value mode meets the same demands, on files that the tests make."""

import gzip
import math
import pickle
import struct

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from scipy import special, stats
from torchvision import datasets as torchvision_datasets

from memo.artifacts.files import ArtifactError
from memo.artifacts.mapped import map_tensors
from memo.artifacts.tensors import Tensors, write_tensors
from memo.datasets.pictures import pictures
from memo.datasets.prepared import (
    DataError,
    Prepared,
    check_prepared,
    content_hash,
    named_observations,
    restored,
    stored,
)
from memo.datasets.registry import prepare_dataset
from memo.datasets.rows import Logits, Shares
from memo.spec.dataset_specs import DatasetSpec
from memo.training.batches import training_batch

torch.set_num_threads(1)

DATASET = TypeAdapter(DatasetSpec)
COUNT = 12
STREAM = np.random.default_rng(0)


def write_idx(file, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    content = header + array.astype(np.uint8).tobytes()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)


def write_mnist(folder, suffix=""):
    images = STREAM.integers(0, 256, (COUNT, 28, 28))
    write_idx(folder / f"train-images-idx3-ubyte{suffix}", images)
    write_idx(folder / f"train-labels-idx1-ubyte{suffix}", np.arange(COUNT) % 10)
    return images


def write_cifar10(folder):
    folder.mkdir(parents=True)
    for batch in range(1, 6):
        records = STREAM.integers(0, 256, (3, 3073)).astype(np.uint8)
        records[:, 0] = (batch, 0, 9)
        (folder / f"data_batch_{batch}.bin").write_bytes(records.tobytes())


def write_image(file, height=20, width=24):
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = STREAM.integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file)
    return pixels


def write_celeba(root):
    lines = [f"{i:06d}.jpg {1 if i == 3 else 0}" for i in range(COUNT + 1)]
    for i in range(COUNT + 1):
        write_image(root / "img_align_celeba" / f"{i:06d}.jpg", 218, 178)
    (root / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")


def write_folder(root):
    for i in range(COUNT):
        write_image(root / ("cats" if i < 8 else "dogs/big") / f"{i:02d}.png")


def files(root, kind):
    match kind:
        case "mnist":
            write_mnist(root)
        case "fashion-mnist":
            write_mnist(root / "FashionMNIST" / "raw", ".gz")
        case "cifar10":
            write_cifar10(root / "cifar-10-batches-bin")
        case "celeba":
            write_celeba(root / "celeba")
        case "image-folder":
            write_folder(root)


def spec_of(root, kind, **options):
    if kind not in ("digits", "synthetic"):
        options |= {"path" if kind == "image-folder" else "root": str(root)}
    if kind in ("celeba", "image-folder"):
        options = {"size": 16} | options
    return DATASET.validate_python({"kind": kind, **options})


IMAGES = ["digits", "mnist", "fashion-mnist", "cifar10", "celeba", "image-folder"]
CASES = [(kind, v) for kind in IMAGES for v in ("binary", "levels", "continuous")] + [
    ("synthetic", None)
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    for kind in IMAGES:
        files(root / kind, kind)
    return root


@pytest.fixture(params=CASES, ids=lambda case: "-".join(filter(None, case)))
def case(request, sources):
    """A function from further options to the spec of this kind and value mode."""
    kind, values = request.param
    fixed = {} if values is None else {"values": values}

    return lambda **options: spec_of(sources / kind, kind, **fixed, **options)


def test_observations_have_values_names_and_labels(case):
    spec = case()
    prepared = prepare_dataset(spec)
    n = len(prepared)
    table = prepared.observations
    texts = dict.fromkeys(("id", "label", "group"), pl.String)
    assert table.schema == {"index": pl.Int64, **texts}
    assert table["index"].to_list() == list(range(n))
    assert table["id"].n_unique() == n == len(table)
    assert prepared.scored.shape == (n, *spec.shape)
    assert prepared.facts["source"]
    values = prepared.scored[:]
    assert values.dtype == prepared.scored.dtype
    assert np.isfinite(values).all()
    match spec.support:
        case "binary":
            assert set(np.unique(values)) <= {0, 1}
        case "levels":
            assert values.dtype == np.uint8
            assert values.max() < spec.depth
        case "continuous":
            assert values.dtype == np.float32


def test_values_are_fixed_and_are_the_data_sets_own(case):
    one, same = prepare_dataset(case()), prepare_dataset(case())
    assert content_hash(one) == content_hash(same)
    assert np.array_equal(one.scored[:], same.scored[:])
    assert np.array_equal(one.scored[:], one.scored[:])
    other = prepare_dataset(case(seed=1))
    if case().kind == "synthetic" or case().values in ("binary", "continuous"):
        assert content_hash(one) != content_hash(other)


def test_rows_are_those_of_the_whole(case):
    rows = prepare_dataset(case()).scored
    whole = rows[:]
    index = np.array([3, 0, 7, 3])
    assert np.array_equal(rows[index], whole[index])
    assert np.array_equal(rows[2:5], whole[2:5])
    assert np.array_equal(rows[4], whole[4])
    assert np.array_equal(rows[index.reshape(2, 2)], whole[index.reshape(2, 2)])


@pytest.mark.parametrize("case", CASES[:-1], ids="-".join, indirect=True)
def test_a_limit_keeps_some_of_the_source_as_they_were_given(case):
    few, all_of_them = prepare_dataset(case(limit=5)), prepare_dataset(case())
    assert len(few) == 5
    assert case(limit=5).observations in (5, None)
    names, all_names = few.observations["id"], all_of_them.observations["id"]
    places = [all_names.index_of(name) for name in names]
    assert places == sorted(places)
    assert np.array_equal(few.given_values[:], all_of_them.given_values[:][places])
    assert few.observations["label"].equals(all_of_them.observations["label"][places])
    more = prepare_dataset(case(limit=7)).observations["id"]
    assert set(names) < set(more) < set(all_names)
    assert f"limit: 5 of {len(all_of_them):,}, drawn" in few.facts["notes"][-2]


def test_a_data_set_is_what_its_files_hold(case, tmp_path):
    spec = case()
    prepared = prepare_dataset(spec)
    arrays, form = stored(prepared)
    file = tmp_path / "values.safetensors"
    write_tensors(file, Tensors(arrays, form))
    mapped = map_tensors(file)
    assert all(isinstance(array, np.memmap) for array in mapped.arrays.values())
    again = restored(mapped.arrays, mapped.facts, prepared.observations, prepared.facts)
    assert content_hash(again) == content_hash(prepared)
    assert np.array_equal(again.scored[np.array([1, 4])], prepared.scored[np.array([1, 4])])
    assert again.drawn_anew == prepared.drawn_anew
    assert again.flips == prepared.flips
    if prepared.log_jacobian is not None:
        assert np.array_equal(again.log_jacobian, prepared.log_jacobian)
    if spec.kind not in ("synthetic", "digits") and spec.values == "continuous":
        assert arrays["scored"].dtype == np.uint8


def test_training_is_given_what_it_needs(case):
    spec = case()
    prepared = prepare_dataset(spec)
    images = spec.kind != "synthetic"
    if images and spec.values != "levels":
        anew = prepare_dataset(case(drawn="each-step"))
        assert anew.drawn_anew
        assert not prepared.drawn_anew
        assert np.array_equal(anew.scored[:], prepared.scored[:])
        pixels = anew.before_noise[:]
        assert (pixels.dtype == np.float32) == (spec.values == "binary")
        assert 0 <= pixels.min() < pixels.max() <= (1 if spec.values == "binary" else 255)
    assert (prepared.log_jacobian is not None) == (images and spec.values == "continuous")


@pytest.mark.parametrize("logit_lambda", [1e-6, 0.05])
def test_the_jacobian_is_the_numerical_one(logit_lambda):
    levels = STREAM.integers(0, 256, (3, 1, 2, 3)).astype(np.uint8)
    levels[0, 0, 0, :2] = (0, 255)
    rows = Logits(levels, 256, logit_lambda, seed=4)

    def transform(t):
        return torch.logit(logit_lambda + (1 - 2 * logit_lambda) * t / 256)

    for i, log_jacobian in enumerate(rows.log_jacobian()):
        x = torch.from_numpy(rows[i]).double().flatten()
        t = 256 * (torch.sigmoid(x) - logit_lambda) / (1 - 2 * logit_lambda)
        assert np.abs(t.numpy() - levels[i].ravel() - 0.5).max() < 0.501
        jacobian = torch.autograd.functional.jacobian(transform, t)
        expected = float(torch.linalg.slogdet(jacobian).logabsdet)
        assert log_jacobian == pytest.approx(expected, abs=1e-4)


def test_dequantization_is_uniform_within_the_level():
    rows = Logits(np.full((200, 1, 8, 8), 3, np.uint8), 17, 0.05, seed=0)
    share = 1 / (1 + np.exp(-rows[:].astype(np.float64)))
    noise = np.sort((17 * (share - 0.05) / 0.9 - 3).ravel())
    assert noise[0] > -1e-5
    assert noise[-1] < 1 + 1e-5
    steps = np.arange(1, len(noise) + 1) / len(noise)
    assert np.abs(noise - steps).max() < 2 / math.sqrt(len(noise))


def test_a_uniform_density_of_the_pixels_has_log_depth_for_each_of_them():
    """If t is uniform on [0, depth], log p(x) is -log depth - log|dx/dt|, whatever x is."""
    rows = Logits(STREAM.integers(0, 256, (5, 1, 4, 4)).astype(np.uint8), 256, 0.05, seed=0)
    x = rows[:].astype(np.float64)
    share = 1 / (1 + np.exp(-x))
    log_p_of_x = np.log(share * (1 - share) / 0.9).sum((1, 2, 3))
    np.testing.assert_allclose(log_p_of_x + rows.log_jacobian(), -16 * math.log(256), rtol=1e-6)


def test_log_p_converts_between_spaces_by_the_jacobian():
    """Normal logits have the log p of pixels that scipy's change of variables gives."""
    levels = np.random.default_rng(3).integers(0, 256, (6, 1, 2, 3)).astype(np.uint8)
    rows = Logits(levels, 256, 0.05, seed=2)
    x, means = rows[:].astype(np.float64), np.array([-1.0, 0.5]).reshape(2, 1, 1, 1, 1)
    ids = named_observations([f"{i}" for i in range(6)], [None] * 6)
    prepared = Prepared(rows, ids, log_jacobian=rows.log_jacobian())
    log_p = stats.norm(means, 2.0).logpdf(x).sum((-3, -2, -1))
    t, step = 256 * (special.expit(x) - 0.05) / 0.9, 1e-5

    def cdf(t):
        return stats.norm(means, 2.0).cdf(special.logit(0.05 + 0.9 * t / 256))

    numerical = np.log((cdf(t + step) - cdf(t - step)) / (2 * step)).sum((-3, -2, -1))
    np.testing.assert_allclose(prepared.to_original(log_p), numerical, atol=1e-4)
    some = np.array([4, 1])
    assert np.array_equal(
        prepared.to_original(log_p[:, some], some), prepared.to_original(log_p)[:, some]
    )
    assert np.array_equal(prepared.to_original(log_p[0]), prepared.to_original(log_p)[0])
    np.testing.assert_allclose(prepared.to_model(prepared.to_original(log_p)), log_p, rtol=1e-14)
    as_they_are = Prepared(x, ids)
    assert np.array_equal(as_they_are.to_original(log_p), log_p)
    assert np.array_equal(as_they_are.to_model(log_p[:, some], some), log_p[:, some])


def test_levels_become_intensities():
    rows = Shares(np.array([[0], [5], [16]], np.uint8), 17)
    assert rows[:].tolist() == [[0], [5 / 16], [1]]


def test_geometry(tmp_path):
    pixels = write_image(tmp_path / "wide.png", height=20, width=24)
    write_image(tmp_path / "x.png", height=20, width=24)
    spec = spec_of(tmp_path, "image-folder", size=None, crop=10, pad=3, values="levels")
    prepared = prepare_dataset(spec)
    expected = np.pad(pixels[5:15, 7:17].transpose(2, 0, 1), ((0, 0), (3, 3), (3, 3)))
    assert np.array_equal(prepared.scored[0], expected)
    assert spec.shape == prepared.shape == (3, 16, 16)
    halved = prepare_dataset(spec_of(tmp_path, "image-folder", size=10, values="levels"))
    square = pixels[:, 2:22].astype(float)
    average = square.reshape(10, 2, 10, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert halved.shape == (3, 10, 10)
    assert np.corrcoef(halved.scored[0].ravel(), average.ravel())[0, 1] > 0.9
    grey = prepare_dataset(spec_of(tmp_path, "image-folder", channels=1))
    assert grey.shape == (1, 16, 16)


def test_arrays_and_files_are_shaped_alike(tmp_path):
    images = write_mnist(tmp_path / "idx")
    for i, image in enumerate(images.astype(np.uint8)):
        (tmp_path / "png").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "png" / f"{i:02d}.png")
    shape = {"crop": 20, "size": 13, "pad": 1, "values": "levels"}
    arrays = prepare_dataset(spec_of(tmp_path / "idx", "mnist", **shape))
    read = prepare_dataset(spec_of(tmp_path / "png", "image-folder", channels=1, **shape))
    assert np.array_equal(arrays.scored[:], read.scored[:])


def test_labels_and_ids_of_a_tree(tmp_path):
    write_folder(tmp_path)
    write_image(tmp_path / "alone.PNG")
    (tmp_path / "notes.txt").write_text("not an image")
    write_image(tmp_path / ".hidden" / "x.png")
    prepared = prepare_dataset(spec_of(tmp_path, "image-folder"))
    labels = dict(prepared.observations.select("id", "label").iter_rows())
    assert len(labels) == COUNT + 1
    assert labels["alone.PNG"] is None
    assert labels["cats/00.png"] == "cats"
    assert labels["dogs/big/11.png"] == "big"
    assert prepared.facts["other_files"] == 1


def damaged(root):
    write_folder(root)
    whole = (root / "cats" / "02.png").read_bytes()
    (root / "cats" / "02.png").write_bytes(whole[: len(whole) // 2])
    (root / "dogs" / "big" / "09.png").write_bytes(b"not a picture")
    Image.fromarray(np.zeros((20, 24), np.uint16)).save(root / "deep.png")


def test_unreadable_images_are_an_error_that_names_each_of_them(tmp_path):
    damaged(tmp_path)
    with pytest.raises(DataError) as error:
        prepare_dataset(spec_of(tmp_path, "image-folder"))
    message = str(error.value)
    assert f"{tmp_path}: 3 images cannot be read" in message
    for name in (
        "cats/02.png is damaged (",
        "dogs/big/09.png is no image by its first bytes",
        "deep.png has more than 8 bits",
    ):
        assert name in message


def test_unreadable_images_are_skipped_and_listed_where_the_spec_says_so(tmp_path):
    damaged(tmp_path)
    prepared = prepare_dataset(spec_of(tmp_path, "image-folder", unreadable="skip"))
    assert len(prepared) == COUNT - 2
    assert set(prepared.facts["unreadable"]) == {"cats/02.png", "dogs/big/09.png", "deep.png"}
    assert "cats/02.png" not in prepared.observations["id"].to_list()
    few = prepare_dataset(spec_of(tmp_path, "image-folder", unreadable="skip", limit=4))
    assert len(few) == 4
    assert set(few.observations["id"]) < set(prepared.observations["id"])


def test_images_of_two_sizes_need_a_size(tmp_path):
    write_image(tmp_path / "a.png", 20, 24)
    write_image(tmp_path / "b.png", 24, 20)
    with pytest.raises(
        DataError, match=r"b\.png: is 24 x 20, but a\.png is 20 x 24; give a `size`"
    ):
        prepare_dataset(spec_of(tmp_path, "image-folder", size=None))
    with pytest.raises(DataError, match="crop 21 is larger than 20 x 24"):
        prepare_dataset(spec_of(tmp_path, "image-folder", size=None, crop=21))
    with pytest.raises(DataError, match="digits: crop 9 is larger than 8 x 8"):
        prepare_dataset(spec_of(tmp_path, "digits", crop=9))


@pytest.mark.parametrize("folder", ["", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_files_may_be_packed_and_lie_in_either_place(tmp_path, folder, suffix):
    images = write_mnist(tmp_path / folder, suffix)
    prepared = prepare_dataset(spec_of(tmp_path, "mnist", values="levels", download=False))
    assert np.array_equal(prepared.scored[:, 0], images)
    assert prepared.observations["label"].to_list()[:3] == ["0", "1", "2"]


def test_classes_have_names(sources):
    fashion = prepare_dataset(spec_of(sources / "fashion-mnist", "fashion-mnist"))
    assert fashion.observations["label"][1] == "Trouser"
    cifar10 = prepare_dataset(spec_of(sources / "cifar10", "cifar10"))
    assert cifar10.observations["label"].to_list()[:3] == ["automobile", "airplane", "truck"]
    celeba = prepare_dataset(spec_of(sources / "celeba", "celeba"))
    assert celeba.observations["id"].to_list()[2:4] == ["000002.jpg", "000004.jpg"]
    assert celeba.observations["label"].null_count() == COUNT


def overwrite(file, edit):
    file.write_bytes(edit(file.read_bytes()))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content[:-1], "is damaged"),
        (lambda content: content[:9], "is not an IDX file"),
        (lambda content: b"\x1f\x8b" + content, "is not an IDX file"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, edit, message):
    write_mnist(tmp_path)
    file = tmp_path / "train-images-idx3-ubyte"
    overwrite(file, edit)
    with pytest.raises(DataError, match=f"{file}: {message}"):
        prepare_dataset(spec_of(tmp_path, "mnist"))


def test_damaged_archives_and_batches_are_named(tmp_path):
    write_mnist(tmp_path / "mnist", ".gz")
    file = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    overwrite(file, lambda content: content[:100])
    with pytest.raises(DataError, match=f"{file}: cannot be read"):
        prepare_dataset(spec_of(tmp_path / "mnist", "mnist"))
    write_cifar10(tmp_path / "cifar10")
    file = tmp_path / "cifar10" / "data_batch_3.bin"
    overwrite(file, lambda content: content[:-1])
    with pytest.raises(DataError, match=f"{file}: is damaged"):
        prepare_dataset(spec_of(tmp_path / "cifar10", "cifar10"))
    write_celeba(tmp_path / "celeba")
    overwrite(tmp_path / "celeba" / "list_eval_partition.txt", lambda content: b"x\n" + content)
    with pytest.raises(DataError, match=r"partition.txt:1: is not a file name and a part"):
        prepare_dataset(spec_of(tmp_path / "celeba", "celeba"))


SOURCES = {
    "mnist": ("MNIST", "train-images-idx3-ubyte"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "data_batch_1.bin"),
    "celeba": ("CelebA", "list_eval_partition.txt"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_failed_download_says_where_files_belong(kind, tmp_path, monkeypatch):
    name, expected = SOURCES[kind]
    tried = []

    def fail(root, **options):
        tried.append((str(root), options))
        raise OSError("no route\nto host")

    monkeypatch.setattr(torchvision_datasets, name, fail)
    with pytest.raises(DataError) as error:
        prepare_dataset(spec_of(tmp_path, kind))
    assert tried == [(str(tmp_path), {"download": True})]
    message = str(error.value)
    for part in (f"{kind}: ", "OSError: no route to host", expected, str(tmp_path), "https://"):
        assert part in message.replace("http://", "https://")
    with pytest.raises(DataError, match="no download was tried"):
        prepare_dataset(spec_of(tmp_path, kind, download=False))
    assert len(tried) == 1


@pytest.mark.parametrize("kind", ["mnist", "fashion-mnist", "celeba"])
def test_a_download_is_read(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(
        torchvision_datasets, SOURCES[kind][0], lambda root, **_: files(tmp_path, kind)
    )
    assert len(prepare_dataset(spec_of(tmp_path, kind))) == COUNT


def test_a_missing_or_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path / 'no'}: no such folder"):
        prepare_dataset(spec_of(tmp_path / "no", "image-folder"))
    with pytest.raises(DataError, match=f"{tmp_path}: has no images"):
        prepare_dataset(spec_of(tmp_path, "image-folder"))


def of_values(values):
    table = pl.DataFrame({"index": range(len(values)), "id": map(str, range(len(values)))})
    return Prepared(np.asarray(values), table)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((0, 2), np.float32), "here: has no observations"),
        (np.zeros((1, 2), np.float32), "here: has 1 observation;"),
        (np.array([[1.0], [np.nan]]), "here: has values that are not finite"),
        (np.ones((3, 1, 2, 2), np.uint8), "here: all 3 observations are the same"),
    ],
)
def test_what_cannot_be_measured_says_why(values, message):
    with pytest.raises(DataError, match=message):
        check_prepared(of_values(values), "here")


@pytest.mark.parametrize("values", ["binary", "continuous"])
def test_images_of_one_colour_are_refused_whatever_noise_is_added(tmp_path, values):
    for i in range(3):
        Image.new("RGB", (4, 4), (0, 0, 0)).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match=f"image-folder in {tmp_path}: all 3 observations are the"):
        prepare_dataset(spec_of(tmp_path, "image-folder", size=None, values=values))


def test_one_image_is_too_few(tmp_path):
    write_image(tmp_path / "only.png")
    with pytest.raises(DataError, match="has 1 observation;"):
        prepare_dataset(spec_of(tmp_path, "image-folder"))


@pytest.mark.parametrize("dimensions", [1, 2])
def test_synthetic_outliers_and_duplicates_are_what_their_labels_say(dimensions):
    spec = spec_of(None, "synthetic", dimensions=dimensions, count=50, outliers=4, duplicates=3)
    prepared = prepare_dataset(spec)
    assert len(prepared) == spec.observations == 57
    distance = np.linalg.norm(prepared.scored[:], axis=1)
    outlying = (prepared.observations["label"] == "outlier").to_numpy()
    assert outlying.sum() == 4
    assert distance[outlying].min() > 7.9 > distance[~outlying].max()
    assert np.array_equal(prepared.scored[54:], prepared.scored[:3])
    assert prepared.observations["id"][55] == "copy-0001-of-point-0001"
    without = prepare_dataset(spec_of(None, "synthetic", dimensions=dimensions, count=50))
    assert np.array_equal(without.scored[:], prepared.scored[:50])


@pytest.mark.parametrize("stack", [(), (2,)])
def test_a_training_batch_is_drawn_and_mirrored(stack):
    shape = (*stack, 3, 2, 4, 5)
    generator = torch.Generator().manual_seed(0)
    values, pixels = (torch.rand(shape, generator=generator) for _ in range(2))
    assert torch.equal(training_batch(values), values)
    drawn = training_batch(values, noise=pixels)
    assert torch.equal(drawn, (pixels < values).float())
    coins = torch.full((*stack, 3), 0.9)
    coins[..., 1] = 0.1
    mirrored = training_batch(values, noise=pixels, coins=coins)
    assert torch.equal(mirrored[..., 1, :, :, :], drawn[..., 1, :, :, :].flip(-1))
    assert torch.equal(mirrored[..., 0, :, :, :], drawn[..., 0, :, :, :])
    levels = torch.tensor([[3]], dtype=torch.uint8)
    assert training_batch(levels).dtype == torch.float32


def test_real_numbers_drawn_anew_are_logits_of_their_levels():
    levels = STREAM.integers(0, 17, (200, 1, 5, 4)).astype(np.uint8)
    rows = Logits(levels, 17, 0.05, seed=0)
    noise = STREAM.random(levels.shape, np.float32)
    x = training_batch(torch.from_numpy(levels), noise=torch.from_numpy(noise), logits=rows)
    t = (levels + noise.astype(np.float64)) / 17
    np.testing.assert_allclose(x, special.logit(0.05 + 0.9 * t), rtol=1e-4, atol=1e-5)
    drawn_once = rows[:].ravel()  # the same distribution
    assert stats.ks_2samp(x.numpy().ravel(), drawn_once).pvalue > 0.01


def test_levels_cannot_be_drawn_at_each_step():
    with pytest.raises(ValidationError, match="nothing of `values: levels` is drawn"):
        spec_of(None, "digits", values="levels", drawn="each-step")
    with pytest.raises(ValidationError, match="`values: binary` with `drawn: each-step`"):
        spec_of(None, "digits", values="dynamic")


def test_the_hash_covers_what_training_sees(sources):
    hashes = [
        content_hash(prepare_dataset(spec_of(sources / "mnist", "mnist", **options)))
        for options in (
            {},
            {"drawn": "each-step"},
            {"values": "continuous", "drawn": "each-step"},
            {"values": "levels"},
            {"values": "continuous"},
            {"values": "continuous", "logit_lambda": 0.1},
            {"values": "continuous", "seed": 1},
            {"flips": True},
            {"pad": 1},
            {"limit": 5},
        )
    ]
    assert len(set(hashes)) == len(hashes)


def test_arrays_of_another_kind_are_not_restored():
    prepared = prepare_dataset(spec_of(None, "synthetic"))
    arrays, form = stored(prepared)
    for wrong_arrays, wrong_form in (({}, form), (arrays, {}), (arrays, {"conversions": 1})):
        with pytest.raises(DataError, match="not the arrays of a prepared data set"):
            restored(wrong_arrays, wrong_form, prepared.observations, {})
    with pytest.raises(DataError, match="not the arrays of a prepared data set"):
        restored(arrays, form | {"conversions": {"scored": {"kind": "x"}}}, pl.DataFrame(), {})


def test_a_map_travels_as_its_place_in_the_file(tmp_path):
    file = tmp_path / "values.safetensors"
    write_tensors(file, Tensors({"a": np.arange(3.0), "scored": np.arange(100_000)}, {}))
    mapped = map_tensors(file).arrays["scored"]
    sent = pickle.dumps(mapped)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    assert isinstance(received, np.memmap)
    assert np.array_equal(received, mapped)
    part = pickle.loads(pickle.dumps(mapped[5:9]))
    assert part.tolist() == [5, 6, 7, 8]
    assert pickle.loads(pickle.dumps(mapped[np.array([7, 3])])).tolist() == [7, 3]


@pytest.mark.parametrize("case", CASES[:-1], ids="-".join, indirect=True)
def test_pictures_show_what_was_given_and_what_is_scored(case):
    spec = case(pad=2)
    prepared, shown = prepare_dataset(spec), pictures(prepare_dataset(spec))
    levels = prepare_dataset(spec.model_copy(update={"values": "levels"})).scored[:]
    given = np.rint(levels.transpose(0, 2, 3, 1) * (255 / (spec.depth - 1)))
    colour = prepared.shape[0] == 3
    assert shown.given.dtype == np.uint8
    assert np.array_equal(shown.given, given if colour else given[..., 0])
    assert shown.given.max() > shown.given[:, 0].max() == 0
    if spec.values == "binary":
        assert set(np.unique(shown.scored)) == {0, 255}
        values = shown.scored if not colour else shown.scored.transpose(0, 3, 1, 2)
        assert np.array_equal(values.reshape((-1, *prepared.shape)) // 255, prepared.scored)
    elif spec.values == "continuous" and spec.kind == "digits":
        noise = shown.scored / 256 * 17 - levels[:, 0]
        assert noise.min() > -17 / 256
        assert noise.max() < 1
        assert noise.mean() + 17 / 512 == pytest.approx(0.5, abs=0.01)
    else:
        assert shown.scored is None


def test_pictures_of_black_and_white_drawings_are_what_is_scored(tmp_path):
    for i in range(4):
        drawing = STREAM.integers(0, 2, (9, 7)).astype(np.uint8) * 255
        Image.fromarray(drawing).save(tmp_path / f"{i}.png")
    spec = spec_of(tmp_path, "image-folder", channels=1, values="binary", size=None)
    assert pictures(prepare_dataset(spec)).scored is None


def test_only_images_have_pictures():
    assert pictures(prepare_dataset(spec_of(None, "synthetic"))) is None


def test_what_is_mapped_is_whole(tmp_path):
    file = tmp_path / "values.safetensors"
    with pytest.raises(ArtifactError, match="no such file"):
        map_tensors(file)
    write_tensors(file, Tensors({"scored": np.arange(10.0)}, {}))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    with pytest.raises(ArtifactError, match="is damaged"):
        map_tensors(file)
    file.write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match="is not a whole safetensors file"):
        map_tensors(file)
