"""Files of tables by their first bytes, their characters, their lines and their header."""

import bz2
import gzip
import io
import lzma
import time
import zipfile

import numpy as np
import polars as pl
import pytest

from memo.datasets.prepared import DataError, content_hash
from memo.datasets.registry import prepare_dataset
from memo.spec.dataset_specs import TableSpec
from tests.field.table_inputs import MEASURED, N, categories_of, csv_of, prepared, refusal

BASE = csv_of([f"{k * k / 7:.3f}" for k in range(N)])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def as_parquet(content: str = BASE) -> bytes:
    file = io.BytesIO()
    pl.read_csv(content.encode()).write_parquet(file)
    return file.getvalue()


def as_zip(**files: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return file.getvalue()


def as_ipc() -> bytes:
    file = io.BytesIO()
    pl.read_csv(BASE.encode()).write_ipc(file)
    return file.getvalue()


def as_npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((3, 2)))
    return file.getvalue()


SAME = {
    "gzip": (gzip.compress(BASE.encode()), "t.csv"),
    "gzip by name": (gzip.compress(BASE.encode()), "t.csv.gz"),
    "bzip2": (bz2.compress(BASE.encode()), "t.data"),
    "xz": (lzma.compress(BASE.encode()), "t.csv"),
    "pq": (as_parquet(), "t.pq"),
    "PARQUET": (as_parquet(), "t.PARQUET"),
    "Parquet named csv": (as_parquet(), "t.csv"),
    "Parquet in gzip": (gzip.compress(as_parquet()), "t.parquet.gz"),
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + BASE.encode(), "t.csv"),
    "UTF-16": (BASE.encode("utf-16"), "t.csv"),
    "UTF-16, big end first": (b"\xfe\xff" + BASE.encode("utf-16-be"), "t.txt"),
    "UTF-32": (BASE.encode("utf-32"), "t.csv"),
    "UTF-16 in gzip": (gzip.compress(BASE.encode("utf-16")), "t.csv"),
    "lines of Windows": (BASE.replace("\n", "\r\n").encode(), "t.csv"),
    "lines of old Macs": (BASE.replace("\n", "\r").encode(), "t.csv"),
    "no last line end": (BASE.rstrip("\n").encode(), "t.csv"),
    "Excel's line": (b"sep=,\r\n" + BASE.encode(), "t.csv"),
    "Excel's line, UTF-16": (("sep=,\n" + BASE).encode("utf-16"), "t.csv"),
    "blank lines first": (b"\n\r\n" + BASE.encode(), "t.csv"),
    "all quoted": (
        "\n".join(",".join(f'"{f}"' for f in row.split(",")) for row in BASE.split()).encode(),
        "t.csv",
    ),
    "spaces": (BASE.replace(",", " , ").encode(), "t.csv"),
}


@pytest.mark.parametrize("kind", SAME)
def test_one_table_is_the_same_in_any_file(kind) -> None:
    content, file = SAME[kind]
    found = prepared(content, file)
    np.testing.assert_array_equal(found.scored[:], prepared(BASE).scored[:])
    if kind != "blank lines first":  # they count in the names of the records
        assert content_hash(found) == content_hash(prepared(BASE))


OTHERS = {
    "Excel": (as_zip(_Content_Types__xml="x", xl__workbook_xml="x"), "is an Excel workbook; save"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 50, "an old Excel workbook; save"),
    "LibreOffice": (
        as_zip(mimetype="application/vnd.oasis.opendocument.spreadsheet"),
        "is an OpenDocument spreadsheet; save its sheet as CSV",
    ),
    "zip": (as_zip(t_csv=BASE), "is a ZIP archive; unpack it"),
    "Zstandard": (b"\x28\xb5\x2f\xfd\x20", "compressed by Zstandard; unpack it"),
    "Arrow": (as_ipc(), "is an Arrow (Feather) file; save it as Parquet"),
    "NumPy": (as_npy(), "is a NumPy array"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
    "SQLite": (b"SQLite format 3\0", "is an SQLite database"),
    "pickle": (b"\x80\x04\x95\x10\0", "is a Python pickle"),
    "web page": (b"\n<!DOCTYPE html>\n<html>", "is a web page; download the file itself"),
    "JSON": (b'[\n  {"a": 1}]', "is JSON"),
    "JSON lines": (b'{"a": 1}\n{"a": 2}\n', "is JSON"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "run: git lfs pull"),
    "R": (gzip.compress(b"RDX3\nX\n\0\0"), "is a file of R"),
    "ARFF": (b"@relation iris\n@attribute x real\n", "is an ARFF file"),
    "PNG": (b"\x89PNG\r\n\x1a\n", "is a PNG picture"),
    "half of gzip": (gzip.compress(BASE.encode())[:60], "is compressed, but not whole"),
    "half of Parquet": (as_parquet()[:-40], "is not a whole Parquet file"),
    "no mark of UTF-16": (BASE.encode("utf-16-le"), "has a zero byte; save it as UTF-8"),
    "Latin-1": (BASE.replace("x", "é").encode("latin-1"), ":1: is not UTF-8 text (byte 0)"),
    "nothing": (b"", "is empty"),
    "nothing in gzip": (gzip.compress(b""), "is empty"),
    "a bomb": (gzip.compress(b"1,2\n" * (90 << 20)), "when it is decompressed, as no table"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_table_is_called_what_it_is(kind) -> None:
    content, said = OTHERS[kind]
    assert said in refusal(content)


@pytest.mark.parametrize(
    "name", ["PAR1", "PARENT", "ORCID", "BZh", "[id]", "{a}", "ARROW1", "RDX", "MATLAB", "GIF89a"]
)
def test_a_name_that_begins_as_a_binary_file_is_a_name(name) -> None:
    assert prepared(csv_of([3, 1, 4, 1, 5, 9], name=name)).columns[0].name == name


@pytest.mark.parametrize("mark", [";", "\t", "|", " ", ":"])
def test_another_separator_is_named(mark) -> None:
    content = csv_of([f"{k * k}.5" for k in range(N)], mark)
    if mark != ":":
        assert f"with `separator: {mark!r}`: set that" in refusal(content)
    assert len(prepared(content, separator=mark).columns) == 2


def test_semicolons_beside_decimal_commas_are_told_from_fields() -> None:
    content = "a;b\n" + "".join(f"{k * k},5;{k % 5},25\n" for k in range(N))
    assert "but 2 with `separator: ';'`" in refusal(content)
    message = refusal("x, in m;y, in m\n" + content[4:])
    assert "can be cut by ';' (into 2 fields) as well as by ','; set `separator`" in message
    data = prepared(content, separator=";", decimal=",")
    np.testing.assert_allclose(
        data.columns[0].in_own_units(data.scored[:, 0].astype(float)),
        [k * k + 0.5 for k in range(N)],
        rtol=1e-4,
    )


def test_the_line_of_excel_says_its_separator() -> None:
    content = "sep=;\r\n" + csv_of(range(0, 40, 2), ";")
    assert "its first line says sep=;; set `separator: ';'`" in refusal(content)
    assert len(prepared(content, separator=";")) == 20
    assert ":24: has 1 field" in refusal(content + "1;2\n3\n", separator=";")


HEADERS = {
    "row of pandas": "0,1,2\n",
    "years": "country,1990,2000\n",
    "iris": "5.1,3.5,setosa\n",
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_first_line_of_numbers_is_left_to_the_user(kind) -> None:
    lines = "".join(f"{'abc'[k % 3]},{MEASURED[k]},{k * k % 11}\n" for k in range(N))
    message = refusal(HEADERS[kind] + lines)
    assert "set `header: true` if they are names of columns, `header: false`" in message
    names = HEADERS[kind].strip().split(",")
    assert [c.name for c in prepared(HEADERS[kind] + lines, header=True).columns] == names
    without = prepared(lines, header=False)
    assert [c.name for c in without.columns] == ["column 1", "column 2", "column 3"]
    assert len(without) == N
    assert without.observations["id"].to_list()[0] == "record 1"


def test_years_are_names_where_they_follow_each_other() -> None:
    lines = "".join(f"{'abc'[k % 3]},{v},{k * k % 11},{k}.5\n" for k, v in enumerate(MEASURED))
    names = [column.name for column in prepared("land,1990,1991,1992\n" + lines).columns]
    assert names == ["land", "1990", "1991", "1992"]
    for other in ("land,1990,1991,1993\n", "land,1,2,3\n", "1989,1990,1991,1992\n"):
        assert "`header: true`" in refusal(other + lines)


def test_columns_without_a_name_get_one_as_in_pandas() -> None:
    numbered = "".join(f"{k},{value},\n" for k, value in enumerate(MEASURED))
    message = refusal(",x,\n" + numbered)
    assert "column 'Unnamed: 0': has another whole number in each of the 24 records" in message
    message = refusal(",x,\n" + numbered, id="Unnamed: 0")
    assert "column 'Unnamed: 2': has no values; name it under `drop`" in message
    data = prepared(",x,\n" + numbered, id="Unnamed: 0", drop=["Unnamed: 2"])
    assert data.observations["id"].to_list() == [str(k) for k in range(N)]


LINES = {
    "ragged": (
        BASE + "1,2,3\n",
        ":26: has 3 fields, but the first line names 2 columns, as other lines have: correct that "
        "line, or delete it if it is no record",
    ),
    "short": (BASE + "1\n", ":26: has 1 field, but the first line names 2 columns, as other"),
    "source": (BASE + "Source: WHO\n", "delete it if it is no record"),
    "comments": ("# by A\n# on Monday\n" + BASE, "those below have 2: delete what stands above"),
    "names again": (BASE + BASE, "delete the line that repeats them; or set `header: false`"),
    "no names": ("a,u\nb,v\nc,u\na,v\n", "or set `header: false` if the first line is a record"),
    "after a long text": (
        'a,b\n"' + "z" * 200_000 + '",1\n"one\ntwo",2\n3\n',
        ":5: has 1 field",
    ),
    "title": ("Wines of 2020\n" + BASE, "those below have 2: delete what stands above"),
    "names of rows": (
        "a,b\n" + "".join(f"r{k},{v},{k % 5}\n" for k, v in enumerate(MEASURED)),
        "R writes names of rows so unless `row.names = FALSE`",
    ),
    "quotes and spaces": (
        '"a" "b"\n' + "".join(f'"{v}" {k * k}\n' for k, v in enumerate(MEASURED)),
        "but 2 with `separator: ' '`: set that",
    ),
    "open quote": (BASE + '"a,3\n', ":26: is not CSV"),
    "text behind a quote": (BASE + '"a"b,3\n', ":26: is not CSV"),
    "two of a name": ("a,b,a\n1,2,3\n", "two columns are named 'a'; rename one"),
}


@pytest.mark.parametrize("kind", LINES)
def test_lines_that_are_no_records_are_named(kind) -> None:
    content, said = LINES[kind]
    assert said in refusal(content)


def test_quotes_within_texts_are_part_of_them() -> None:
    lines = "".join(f"{('5 pipe', '7in' + chr(34) + ' pipe')[k % 2]},{k * k}\n" for k in range(N))
    assert categories_of(prepared("x,y\n" + lines)) == ("5 pipe", '7in" pipe')
    odd = "".join(f'big"{"x" * (k % 2)},{k * k}\n' for k in range(N))
    assert categories_of(prepared("x,y\n" + odd)) == ('big"', 'big"x')


def test_lines_within_quotes_are_one_text() -> None:
    lines = "".join(f'"a\n{k % 3}",{k * k}\n' for k in range(N))
    assert categories_of(prepared("x,y\n" + lines)) == ("a\n0", "a\n1", "a\n2")


def test_texts_may_be_long() -> None:
    content = csv_of([f"{'z' * 300_000}{k % 2}" for k in range(4)])
    assert [len(name) for name in categories_of(prepared(content))] == [300_001] * 2


@pytest.mark.parametrize("part", ["mar ", "1.", "(", "-", "1'", "12 jan ", "0_0", "n/a ", "word"])
def test_long_texts_take_no_long_look(part) -> None:
    start = time.process_time()
    texts = [f"{part * 20_000}{end}" for end in ("1x", "x", "y") * 3]
    assert len(categories_of(prepared(csv_of(texts)))) == 3
    assert time.process_time() - start < 5


def test_a_path_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        prepare_dataset(TableSpec(kind="table", path=f"{'x' * 300}.csv"))


def test_a_folder_is_no_table(tmp_path) -> None:
    (tmp_path / "folder.csv").mkdir()
    spec = TableSpec(kind="table", path="folder.csv")
    with pytest.raises(DataError, match=r"folder\.csv: no such file \(it is a folder\)"):
        prepare_dataset(spec)
