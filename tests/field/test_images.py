"""Image files that are not what they seem: each is read by a rule that is said, or refused."""

import os
import re
import struct
import subprocess
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from memo.datasets.prepared import DataError
from memo.datasets.registry import look_at_source, prepare_dataset
from memo.datasets.sources import image_decoding
from memo.datasets.sources.image_folder import survey_image_folder
from memo.spec.dataset_specs import ImageFolderSpec
from tests.conftest import command

STREAM = np.random.default_rng(0)
GREY = STREAM.integers(0, 256, (6, 9), np.uint8)
COLOUR = STREAM.integers(0, 256, (6, 9, 3), np.uint8)
ORIENTATION = 0x0112


def spec(folder: Path, **options: object) -> ImageFolderSpec:
    given = {"channels": 3, "values": "levels"} | options
    return ImageFolderSpec(kind="image-folder", path=str(folder), **given)


def read(folder: Path, **options: object) -> tuple[np.ndarray, list[str]]:
    """The first image, (height, width, channels), and all notes; another image stands beside it."""
    name = min(path.name for path in folder.iterdir())
    with Image.open(folder / name) as image:
        size = image.size
    if not options.get("size"):
        turned = options.pop("turned", False)
        other = Image.new("RGB", size[::-1] if turned else size, "red")
        other.save(folder / "zz.png")
    data = prepare_dataset(spec(folder, **options))
    assert data.observations["id"].to_list()[0] == name
    return data.scored[0].transpose(1, 2, 0), data.facts["notes"]


def said(notes: list[str], words: str) -> bool:
    return any(words in note for note in notes)


def png(depth: int, kind: int, rows: list[bytes], width: int, palette: bytes = b"") -> bytes:
    """A PNG file of any bit depth and colour type, byte by byte."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"PLTE", palette) if palette else b"")
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )


# Orientation

TURNS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_images_are_turned_as_exif_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    how = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(COLOUR).save(tmp_path / f"a.{suffix}", exif=exif, **how)
    assert survey_image_folder(tmp_path).sizes == {(9, 6) if orientation > 4 else (6, 9)}
    with Image.open(tmp_path / f"a.{suffix}") as image:  # Pillow tells a TIFF's size as turned
        turned = orientation > 4 and image.size == (9, 6)
    found, notes = read(tmp_path, turned=turned)
    np.testing.assert_array_equal(found, TURNS[orientation](COLOUR))
    assert said(notes, "images turned upright, as EXIF says: 1")


# Transparency


@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("form", ["RGBA", "LA", "palette", "key"])
def test_invisible_pixels_do_not_count(tmp_path, background: str, level: int, form: str) -> None:
    visible = np.zeros((6, 9), bool)
    visible[:, :5] = True
    grey = GREY.copy()
    grey[grey == 7] = 8
    if form == "RGBA":
        alpha = np.where(visible, 255, 0).astype(np.uint8)
        image = Image.fromarray(np.dstack([grey, grey, grey, alpha]))
        image.save(tmp_path / "a.png")
    elif form == "LA":
        alpha = np.where(visible, 255, 0).astype(np.uint8)
        image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
        image.save(tmp_path / "a.png")
    elif form == "palette":
        keyed = Image.fromarray(np.where(visible, grey, 7).astype(np.uint8)).convert("P")
        keyed.save(tmp_path / "a.gif", transparency=7)
    else:
        keyed = Image.fromarray(np.where(visible, grey, 7).astype(np.uint8)).convert("RGB")
        keyed.save(tmp_path / "a.png", transparency=(7, 7, 7))
    found, notes = read(tmp_path, background=background)
    expected = np.where(visible, grey, level)
    np.testing.assert_array_equal(found, np.dstack([expected] * 3))
    assert said(notes, f"images transparent, laid on {background}: 1")


def test_half_transparent_pixels_are_mixed_and_opaque_ones_say_nothing(tmp_path: Path) -> None:
    half = np.dstack([COLOUR, np.full((6, 9), 51, np.uint8)])  # a fifth
    Image.fromarray(half).save(tmp_path / "a.png")
    found, _ = read(tmp_path)
    assert np.abs(found - (0.2 * COLOUR + 0.8 * 255)).max() <= 1
    whole = np.dstack([COLOUR, np.full((6, 9), 255, np.uint8)])
    Image.fromarray(whole).save(tmp_path / "a.png")
    found, notes = read(tmp_path)
    np.testing.assert_array_equal(found, COLOUR)
    assert not said(notes, "transparent")


# Depth, colour spaces, several pictures


def deep(folder: Path, kind: str) -> None:
    wide = (GREY.astype(np.uint16) * 257).astype(">u2")
    rows = [row.tobytes() for row in wide]
    match kind:
        case "grey 16 png":
            (folder / "a.png").write_bytes(png(16, 0, rows, 9))
        case "colour 16 png":
            (folder / "a.png").write_bytes(png(16, 2, [row * 3 for row in rows], 9))
        case "grey and alpha 16 png":
            (folder / "a.png").write_bytes(png(16, 4, [row * 2 for row in rows], 9))
        case "colour and alpha 16 png":
            (folder / "a.png").write_bytes(png(16, 6, [row * 4 for row in rows], 9))
        case "grey 16 tiff":
            Image.fromarray(wide.astype(np.uint16)).save(folder / "a.tiff")
        case "float tiff":
            Image.fromarray(GREY.astype(np.float32)).save(folder / "a.tif")
        case "int tiff":
            Image.fromarray(GREY.astype(np.int32)).save(folder / "a.tif")
        case "grey 16 pgm":
            (folder / "a.pgm").write_bytes(b"P5 9 6 65535\n" + wide.tobytes())
        case "colour 16 ppm":
            (folder / "a.ppm").write_bytes(b"P6 9 6 4095\n" + bytes(9 * 6 * 6))


@pytest.mark.parametrize(
    "kind",
    [
        "grey 16 png",
        "colour 16 png",
        "grey and alpha 16 png",
        "colour and alpha 16 png",
        "grey 16 tiff",
        "float tiff",
        "int tiff",
        "grey 16 pgm",
        "colour 16 ppm",
    ],
)
def test_more_than_8_bits_are_refused_by_every_command(tmp_path: Path, kind: str) -> None:
    deep(tmp_path, kind)
    with pytest.raises(DataError, match="has more than 8 bits a channel; save it with 8"):
        prepare_dataset(spec(tmp_path))
    with pytest.raises(DataError, match="has more than 8 bits a channel"):
        survey_image_folder(tmp_path)
    with pytest.raises(DataError, match="`unreadable: skip` leaves such images out"):
        look_at_source(spec(tmp_path))
    look_at_source(spec(tmp_path, unreadable="skip"))


@pytest.mark.parametrize("form", ["gif", "png", "tiff", "webp"])
def test_several_pictures_in_a_file_are_refused(tmp_path: Path, form: str) -> None:
    frames = [Image.fromarray(np.roll(COLOUR, k, 0)) for k in range(3)]
    frames[0].save(tmp_path / f"a.{form}", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="has 3 pictures in one file; save those that are meant"):
        prepare_dataset(spec(tmp_path))
    with pytest.raises(DataError, match="has 3 pictures in one file; save those that are meant"):
        look_at_source(spec(tmp_path))


def test_of_a_cameras_mpo_file_the_first_picture_is_read_and_that_is_said(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR)
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (9, 6))])
    image.save(tmp_path / "b.jpg", "JPEG")
    Image.new("RGB", (9, 6)).save(tmp_path / "c.jpg")
    data = prepare_dataset(spec(tmp_path))
    np.testing.assert_array_equal(data.scored[0], data.scored[1])
    assert said(
        data.facts["notes"],
        "images in MPO files of several pictures, of which the first is read: 1",
    )
    assert not said(data.facts["notes"], "of another format")


def test_cmyk_and_other_colour_spaces_are_refused(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="is in CMYK, whose colours depend on the printer"):
        prepare_dataset(spec(tmp_path))
    Image.fromarray(COLOUR).convert("LAB").save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="has pixels of mode LAB; save it in grey or RGB"):
        prepare_dataset(spec(tmp_path))


def test_palettes_few_bits_and_grey_among_colours_are_their_colours(tmp_path: Path) -> None:
    few = Image.fromarray(COLOUR).quantize(4)
    few.save(tmp_path / "a.png")
    found, _ = read(tmp_path)
    np.testing.assert_array_equal(found, np.asarray(few.convert("RGB")))
    Image.fromarray(GREY).convert("RGB").quantize(16).save(tmp_path / "a.png")
    assert survey_image_folder(tmp_path).channels == 3  # the other image is red
    (tmp_path / "zz.png").unlink()
    assert survey_image_folder(tmp_path).channels == 1
    (tmp_path / "a.png").write_bytes(png(2, 0, [b"\x1b"] * 4, 4))
    found, notes = read(tmp_path)
    np.testing.assert_array_equal(found[0, :, 0], [0, 85, 170, 255])
    assert said(notes, "images grey, in a data set of colours: 1")
    (tmp_path / "a.png").write_bytes(png(1, 0, [b"\xa0"] * 4, 4))
    found, _ = read(tmp_path)
    np.testing.assert_array_equal(found[0, :, 2], [255, 0, 255, 0])
    found, notes = read(tmp_path, channels=1)
    assert said(notes, "images coloured, turned to grey: 1")


def test_profiles_are_not_applied_and_counted(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR)
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    image.save(tmp_path / "a.png", icc_profile=other)
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "b.png", icc_profile=standard)
    found, notes = read(tmp_path)
    np.testing.assert_array_equal(found, COLOUR)
    assert said(notes, "images with a colour profile that is not applied: 1")


# Formats, and bombs

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 9 6
%%EndComments
(touched) (w) file closefile
showpage
"""


@pytest.mark.parametrize(
    "content", [EPS, b"%PDF-1.4\n", b"II\xbc\x01" + bytes(64), b"8BPS" + bytes(64)]
)
def test_only_formats_of_the_list_are_opened(tmp_path: Path, monkeypatch, content: bytes) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("another program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png is no image by its first bytes"):
        prepare_dataset(spec(tmp_path))
    with pytest.raises(DataError, match="none of 1 images can be read"):
        survey_image_folder(tmp_path)


def test_a_jpeg_named_png_is_read_and_counted(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png", "JPEG")
    Image.fromarray(255 - COLOUR).save(tmp_path / "b.JFIF", "JPEG")
    data = prepare_dataset(spec(tmp_path, size=4))
    assert said(data.facts["notes"], "images of another format than the name says: 1")


def blank(side: int) -> bytes:
    stored = BytesIO()
    Image.new("1", (side, side)).save(stored, "PNG")
    return stored.getvalue()


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(blank(13_300))
    Image.fromarray(GREY).save(tmp_path / "b.png")
    message = r"a.png has more than 89,478,485 pixels; make it smaller"
    with pytest.raises(DataError, match=message):
        prepare_dataset(spec(tmp_path, size=4))


def test_a_folder_that_does_not_fit_into_memory_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(blank(9000))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for index in range(memory // (2 * 3 * 9000**2) + 1):
        (tmp_path / f"b{index:04d}.png").symlink_to("a.png")
    with pytest.raises(DataError, match=r"such images do not fit into half .* a smaller `size`"):
        prepare_dataset(spec(tmp_path))


def test_few_pixels_are_in_flight_at_a_time() -> None:
    budget = image_decoding._Budget(10)
    with budget.taken(6), budget.taken(4):
        assert budget._used == 10
    with budget.taken(25):  # alone, however large
        assert budget._used == 25
    assert budget._used == 0


def test_large_jpegs_are_decoded_at_a_reduced_scale_to_almost_the_same(tmp_path: Path) -> None:
    smooth = Image.fromarray(STREAM.integers(0, 256, (8, 8, 3), np.uint8)).resize((2400, 2000))
    smooth.save(tmp_path / "a.jpg", quality=95)
    smooth.save(tmp_path / "b.png")
    data = prepare_dataset(spec(tmp_path, size=16))
    assert said(data.facts["notes"], "images in large JPEG files, decoded at a reduced scale: 1")
    difference = data.scored[0].astype(float) - data.scored[1]
    assert np.sqrt(np.square(difference).mean()) < 2


# Which files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """cats in the folder; dogs behind a link; loops, broken links, other and hidden files."""
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root / "cats", root / ".cache", elsewhere / "dogs"):
        folder.mkdir(parents=True)
        for index in range(4):
            pixels = STREAM.integers(0, 256, (6, 9, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    (root / "dogs").symlink_to(elsewhere / "dogs")
    (root / "again").symlink_to(root / "cats")
    (root / "cats" / "loop").symlink_to(root)
    (root / "cats" / "single.png").symlink_to(elsewhere / "dogs" / "0.png")
    (root / "gone.png").symlink_to(root / "nothing.png")
    (root / "self.png").symlink_to(root / "self.png")
    (root / "notes.txt").write_text("no image")
    (root / "phone.heic").write_bytes(b"")
    (root / "README").write_text("no image")
    (root / ".DS_Store").write_text("no image")
    os.mkfifo(root / "pipe.png")
    return root


def test_links_are_followed_and_all_that_is_left_out_is_said(tree: Path) -> None:
    data = prepare_dataset(spec(tree))
    assert data.observations["id"].to_list() == [
        *(f"cats/{index}.png" for index in range(4)),
        "cats/single.png",
        *(f"dogs/{index}.png" for index in range(4)),
    ]
    assert data.observations["label"].to_list() == ["cats"] * 5 + ["dogs"] * 4
    notes = data.facts["notes"]
    assert notes[:1] == ["read: 9 of 9 image files, with 2 labels"]
    for words in (
        "links to images, which are read: 1",
        "links to folders, whose images are read: 1 (dogs)",
        "read under other names, not followed: 2 (again, cats/loop)",
        "links that lead nowhere: 2 (gone.png, self.png)",
        "other files, not read: 4 (1 .heic, 1 .txt, 1 neither file nor folder, 1 without a suffix)",
        "hidden files, not read: 5",
    ):
        assert said(notes, words), words
    assert data.facts["copies"]["exact"] == 1  # what the single link shows twice
    assert survey_image_folder(tree).count == 9
    assert said(survey_image_folder(tree).notes, "whose images are read: 1 (dogs)")


def test_a_root_that_is_a_link_and_links_between_linked_folders(tree: Path) -> None:
    (tree.parent / "root2").symlink_to(tree)
    assert len(prepare_dataset(spec(tree.parent / "root2"))) == 9
    more = tree.parent / "elsewhere" / "more"
    more.mkdir()
    Image.fromarray(COLOUR).save(more / "m.png")
    (tree.parent / "elsewhere" / "dogs" / "deeper").symlink_to(more)
    assert "dogs/deeper/m.png" in prepare_dataset(spec(tree)).observations["id"].to_list()


def test_a_link_to_a_folder_above_is_not_followed(tree: Path) -> None:
    (tree / "up").symlink_to(tree.parent)
    (tree / "cats" / "top").symlink_to("/")
    data = prepare_dataset(spec(tree))
    assert len(data) == 9
    assert said(data.facts["notes"], "not followed: 4 (again, cats/loop, cats/top, up)")


def test_of_two_links_to_a_folder_the_first_name_is_read(tree: Path) -> None:
    for name in ("d2", "d1"):
        (tree / name).symlink_to(tree.parent / "elsewhere" / "dogs")
    names = prepare_dataset(spec(tree)).observations["id"].to_list()
    assert "d1/0.png" in names
    assert not any(name.startswith(("d2/", "dogs/")) for name in names)


@pytest.mark.skipif(os.geteuid() == 0, reason="everything may be listed")
def test_a_folder_that_cannot_be_listed_is_an_error(tree: Path) -> None:
    (tree / "cats").chmod(0)
    try:
        with pytest.raises(DataError, match="cats: cannot be listed: Permission denied"):
            prepare_dataset(spec(tree))
    finally:
        (tree / "cats").chmod(0o755)


def test_a_limit_on_folders_of_classes_has_all_of_them(tmp_path: Path) -> None:
    for label, count in (("ants", 30), ("bees", 60), ("cats", 10)):
        (tmp_path / label).mkdir()
        for index in range(count):
            Image.new("L", (4, 4), index).save(tmp_path / label / f"{index:02d}.png")
    (tmp_path / "bees" / "00.png").write_bytes(b"broken")
    data = prepare_dataset(spec(tmp_path, limit=50, unreadable="skip", seed=3))
    counts = dict(data.observations["label"].value_counts().iter_rows())
    assert sum(counts.values()) == 50
    for label, share in (("ants", 15), ("bees", 30), ("cats", 5)):
        assert abs(counts[label] - share) <= 2
    names = data.observations["id"].to_list()
    assert names == sorted(names)
    assert len(set(names)) == 50
    levels = [int(re.findall(r"\d+", name)[0]) for name in names]
    np.testing.assert_array_equal(data.scored[:, 0, 0, 0], levels)
    assert said(data.facts["notes"], "limit: 50 of 100, drawn at random from seed 3")


VALIDATED = """\
datasets:
  pictures: {{kind: image-folder, path: {path}{more}}}
experiments:
  one:
    dataset: pictures
    model: {{kind: vae, network: {{kind: mlp, hidden: [8]}}, latent: 2, observation: bernoulli}}
    training: {{epochs: 1}}
    mitigations: []
    scoring: {{design: {{kind: k-fold, folds: 2}}, epochs: [1]}}
    seed: 0
"""


def test_validate_says_what_prepare_would_refuse_and_prepare_what_it_did(tmp_path: Path) -> None:
    project, folder = tmp_path / "project", tmp_path / "images"
    project.mkdir()
    folder.mkdir()
    for index in range(4):
        Image.fromarray(np.roll(COLOUR, index)).save(folder / f"{index}.png")
    deep(folder, "colour 16 png")

    def write(**options: object) -> None:
        text = "".join(f", {key}: {value}" for key, value in options.items())
        (project / "params.yaml").write_text(VALIDATED.format(path=folder, more=text))

    write()
    command(project, "memo", "expand")
    refused = command(project, "memo", "validate", check=False)
    assert refused.returncode == 2
    assert "a.png has more than 8 bits a channel; save it with 8" in refused.stderr
    assert "Traceback" not in refused.stderr
    write(unreadable="skip", limit=3)
    said = command(project, "memo", "prepare", "pictures").stdout
    assert "read: 3 of 5 image files, with 0 labels" in said
    assert "limit: 3 of 5, drawn at random from seed 0" in said


def test_images_of_two_sizes_are_refused_from_their_headers(tmp_path: Path) -> None:
    for index in range(3):
        Image.fromarray(np.roll(COLOUR, index)).save(tmp_path / f"{index}.png")
    turned = Image.fromarray(COLOUR.swapaxes(0, 1))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    look_at_source(spec(tmp_path))
    assert len(prepare_dataset(spec(tmp_path))) == 4
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(
        DataError, match=r"small\.png is of 4 x 4 pixels, but 0\.png of 6 x 9; give"
    ):
        look_at_source(spec(tmp_path))
    look_at_source(spec(tmp_path, size=4))
    with pytest.raises(DataError, match=r"small.* is too small: crop 5 is larger than 4 x 4"):
        look_at_source(spec(tmp_path, crop=5))


def damaged_files() -> dict[str, bytes]:
    """Files that have been damaged so that Pillow raises other exceptions than OSError."""
    whole = {}
    for form in ("TIFF", "PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP"):
        stored = BytesIO()
        Image.fromarray(COLOUR).save(stored, form)
        whole[form] = stored.getvalue()
    stream = np.random.default_rng(6)
    found = {}
    for form, content in whole.items():
        for index in range(40):
            changed = bytearray(content)
            for _ in range(1 + index % 4):
                changed[stream.integers(min(len(changed), 200))] = stream.integers(256)
            found[f"{form}{index:02d}"] = bytes(changed)
        found[f"{form}-cut"] = content[: len(content) // 2]
    return found | {
        "empty": b"",
        "TIFF-no-size": whole["TIFF"].replace(b"\x00\x01\x04\x00", b"\x07\x01\x04\x00"),
    }


def test_damaged_files_of_any_format_are_skipped_with_a_reason(tmp_path: Path) -> None:
    for name, content in damaged_files().items():
        (tmp_path / f"{name}.png").write_bytes(content)
    for index in range(3):
        Image.fromarray(np.roll(COLOUR, index)).save(tmp_path / f"whole{index}.bmp")
    data = prepare_dataset(spec(tmp_path, size=4, unreadable="skip"))
    assert set(data.observations["id"]) >= {f"whole{index}.bmp" for index in range(3)}
    refused = data.facts["unreadable"]
    assert len(refused) > 50
    assert all(re.match(r"is |has |cannot ", reason) for reason in refused.values())
    assert refused["empty.png"].startswith("is no image by its first bytes")
