"""Files by their first bytes: which are tables, which have a table inside, and what others are."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable

PARQUET = b"PAR1"
_ENCRYPTED = b"PARE"

_AFTER_A_NAME = bytes(range(32, 127)) + b"\t\r\n\0"

SPARE = 256 << 20
"""Bytes that any file may take when decompressed, beside a multiple of its size."""

LARGEST_RATIO = 200
"""Tables as text are compressed by a factor of some ten."""

_OPENERS: dict[bytes, Callable[[io.BytesIO], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    **{b"BZh%d1AY&SY" % level: bz2.BZ2File for level in range(1, 10)},
    b"\xfd7zXZ\0": lzma.LZMAFile,
}

_JSON = "JSON; save it as CSV or Parquet"
_OF_R = "a file of R; save its table as CSV (`write.csv`)"
_PICKLE = "a Python pickle, which can run code when it is read; save it as CSV or Parquet"

_OTHERS = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel workbook; save its sheet as CSV",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard; unpack it",
    b"\x04\x22\x4d\x18": "compressed by LZ4; unpack it",
    b"7z\xbc\xaf\x27\x1c": "an archive of 7-Zip; unpack it",
    b"Rar!\x1a\x07": "a RAR archive; unpack it",
    b"ARROW1\0\0": "an Arrow (Feather) file; save it as Parquet",
    b"FEA1": "an old Feather file; save it as Parquet",
    b"Obj\x01": "an Avro file; save it as Parquet",
    b"\x89HDF": "an HDF5 file; save its table as CSV or Parquet",
    b"SQLite format 3\0": "an SQLite database; save its table as CSV or Parquet",
    b"\x93NUMPY": "a NumPy array; save it as CSV with names of columns, or call `memo.measure`",
    b"RDX2\n": _OF_R,
    b"RDX3\n": _OF_R,
    b"RDA3\n": _OF_R,
    b"X\n\0\0\0": _OF_R,
    b"<stata_dta>": "a Stata file; save it as CSV",
    b"$FL2": "an SPSS file; save it as CSV",
    b"MATLAB 5.0 MAT-file": "a MATLAB file; save its table as CSV",
    b"%PDF": "a PDF document; a table must be CSV or Parquet",
    b"\x89PNG": "a PNG picture; a table must be CSV or Parquet",
    b"\xff\xd8\xff": "a JPEG picture; a table must be CSV or Parquet",
    b"\x80\x04\x95": _PICKLE,
    b"\x80\x05\x95": _PICKLE,
    b"version https://git-lfs": "a pointer of Git LFS, not the file; run: git lfs pull",
}

_TEXTS = {
    b"<!doctypehtml": "a web page; download the file itself (on GitHub: Raw)",
    b"<html": "a web page; download the file itself (on GitHub: Raw)",
    b"<?xml": "an XML document; save its table as CSV",
    b'{"': _JSON,
    b"[{": _JSON,
    b"[[": _JSON,
    b"@relation": "an ARFF file; save its table as CSV",
}


class WrongKindError(Exception):
    """A file is no table that is read; the message says what it is and what to do."""


def unpacked(content: bytes) -> bytes:
    """Content of a file, decompressed where gzip, bzip2 or xz compressed it.

    Raises:
        WrongKindError: It is damaged, or becomes much larger than tables do.
    """
    opener = next((opens for mark, opens in _OPENERS.items() if content.startswith(mark)), None)
    if opener is None:
        return content
    most = SPARE + LARGEST_RATIO * len(content)
    try:
        with opener(io.BytesIO(content)) as file:
            inside = file.read(most + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise WrongKindError(f"is compressed, but not whole: {error}") from None
    if len(inside) > most:
        raise WrongKindError(
            f"becomes more than {most >> 20:,} MiB when it is decompressed, as no table of its "
            "size does; decompress it yourself if it is one"
        )
    return inside


def is_parquet_content(content: bytes) -> bool:
    """True for Parquet, whatever its name.

    Its mark may also begin a name in the first line of CSV; after it, Parquet has no text.
    """
    return content.startswith(PARQUET) and (
        content.endswith(PARQUET) or content[4:5] not in _AFTER_A_NAME
    )


def refuse_other_kinds(content: bytes) -> None:
    """See that a file may be CSV, by its first bytes.

    Raises:
        WrongKindError: It is a file of another kind.
    """
    if content.startswith(b"PK\x03\x04"):
        raise WrongKindError(_of_zip(content))
    found = next((said for mark, said in _OTHERS.items() if content.startswith(mark)), None)
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if content.startswith(_ENCRYPTED) and content.endswith(_ENCRYPTED):
        found = "an encrypted Parquet file; save it without encryption"
    start = b"".join(start.split())
    found = found or next((said for mark, said in _TEXTS.items() if start.startswith(mark)), None)
    if found:
        raise WrongKindError(f"is {found}")


def _of_zip(content: bytes) -> str:
    if b"xl/workbook" in content:
        return "is an Excel workbook; save its sheet as CSV"
    if b"opendocument.spreadsheet" in content[:200]:
        return "is an OpenDocument spreadsheet; save its sheet as CSV"
    return "is a ZIP archive; unpack it, and name the file in it"
