"""Code of the user's own: reading and hashing its files, and importing them from memory.

The text is read once, where a stage starts, its hash becomes part of fingerprints, and it travels
with the spec to each process or machine that builds the model. It is imported from there, and no
other file of the project can be, so that the hash covers everything that runs.
"""

import hashlib
import importlib
import importlib.machinery
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from memo.errors import InputError, MemoError


class CodeError(InputError):
    """Code of the user's own cannot be run; the message shows lines of this code, not of memo's."""


@dataclass(frozen=True)
class Code:
    """A class or function of the user's own, with the text of all modules that it may import."""

    target: str
    """`package.module:Class`."""

    sources: dict[str, tuple[str, str]]
    """By name of the module: the path of its file in the project's folder, and its text."""

    digest: str
    """SHA-256 over the paths and contents of all files."""

    root: str
    """The project's folder, where modules find files beside their `__file__`."""

    @property
    def name(self) -> str:
        """Name in messages: `folder/module.py:Class`."""
        module, _, name = self.target.partition(":")
        return f"{self.sources[module][0]}:{name}"

    def load(self) -> Any:
        """Import the target; code with the same digest is imported only once.

        Raises:
            CodeError: The target is missing, cannot be imported, or is not callable.
        """
        key = (self.target, self.digest, self.root)
        if key not in _loaded:
            _loaded[key] = _import(self)
        return _loaded[key]


_loaded: dict[tuple[str, str, str], Any] = {}


def read_code(root: Path, path: str, target: str) -> Code:
    """Read the code at a path in a project's folder.

    Args:
        root: The project's folder.
        path: A file, or a folder of which all files are read, relative to `root`.
        target: `package.module:Class`; the module must be among the files.

    Raises:
        CodeError: A file is missing or not UTF-8 text, or a module has the name of an installed
            one.
    """
    below = root / path
    try:
        files = sorted(_files(below)) if below.is_dir() else [below]
    except OSError as error:
        raise CodeError(f"{path}: cannot be read: {error.strerror or error}") from None
    digest = hashlib.sha256()
    sources = {}
    for file in files:
        name = file.relative_to(root).as_posix()
        content = _content(file, name)
        digest.update(f"{name} {len(content)}\n".encode() + content)
        if file.suffix == ".py":
            sources[_module(name)] = name, _text(content, name)
    module = target.partition(":")[0]
    if module not in sources:
        raise CodeError(f"{path}: has no module {module!r}, which {target!r} names")
    _require_own_name(root, module.partition(".")[0])
    return Code(target, sources, digest.hexdigest(), str(root.resolve()))


@contextmanager
def errors_of(code: Code | None, call: str | Callable[[], str] = "") -> Iterator[None]:
    """Turn exceptions of the user's own code into one error that shows the lines they came from.

    Args:
        code: The code that the body runs; None where none is the user's.
        call: What the body calls, or a function that tells it afterwards: it is named where an
            exception has no line of the user's, as one that torch raises in a layer of theirs.

    Raises:
        CodeError: The body raised an exception other than memo's, with a line of `code` in its
            traceback, or in a call that has a name.
    """
    try:
        yield
    except MemoError:
        raise
    except Exception as error:
        if code is None:
            raise
        lines = _own_lines(error, code)
        called = call if isinstance(call, str) else call()
        if not lines and called:
            without = "; no line of yours is in the traceback" if code.sources else ""
            lines = [f"  memo called {called}{without}"]
        if not lines:
            raise
        found = [f"{code.name}: {_summary(error)}{_advice(error)}", *lines]
        raise CodeError("\n".join(found)) from error


def _advice(error: BaseException) -> str:
    """Advise on an error that says little of its cause."""
    if "does not require grad" in str(error):
        return (
            " (memo calls everything but `loss` with autograd off: what needs gradients of its own "
            "stands in `with torch.enable_grad():`)"
        )
    if "device meta" in str(error):
        return (
            " (memo trains a copy of the model whose weights come as arguments and which has no "
            "values of its own: what the loss uses must be a parameter, a buffer or made in the "
            "call, not a tensor that a function, a cache or an ODE solver of a library holds)"
        )
    return ""


def _summary(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _own_lines(error: BaseException, code: Code) -> list[str]:
    lines = {file: text.splitlines() for file, text in code.sources.values()}
    return [
        f"  {frame.f_code.co_filename}:{number}, in {frame.f_code.co_name}: "
        f"{lines[frame.f_code.co_filename][number - 1].strip()}"
        for frame, number in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename in lines
    ]


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The files in a folder; `above` are the folders that it was found in, seen through links."""
    inside = (*above, folder.resolve())
    if inside[-1] in above:
        raise CodeError(f"{folder}: is a link to a folder that it lies in")
    for entry in folder.iterdir():
        if entry.name.startswith((".", "__pycache__")):
            continue
        if entry.is_dir():
            yield from _files(entry, inside)
        else:
            yield entry


def _content(file: Path, name: str) -> bytes:
    try:
        if file.exists() and not file.is_file():  # reading a pipe might never end
            raise CodeError(f"{name}: is no file")
        return file.read_bytes()
    except FileNotFoundError:
        raise CodeError(f"{name}: no such file or folder in the project's") from None
    except OSError as error:
        raise CodeError(f"{name}: cannot be read: {error.strerror}") from None


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CodeError(f"{name}: is not UTF-8 text (byte {error.start})") from None


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _require_own_name(root: Path, package: str) -> None:
    """See that a package of the user's does not hide another one.

    Raises:
        CodeError: An installed module, or one of the standard library, has the same name.
    """
    if package in sys.stdlib_module_names or _is_installed(root.resolve(), package):
        raise CodeError(
            f"{package!r} is also the name of an installed module; rename the file or folder"
        )


def _is_installed(root: Path, package: str) -> bool:
    loaded = sys.modules.get(package)
    if isinstance(getattr(loaded, "__loader__", None), _Loader):
        return False
    found = PathFinder.find_spec(package) if loaded is None else loaded.__spec__
    if found is None:
        return False
    places = [found.origin] if found.has_location else [*(found.submodule_search_locations or ())]
    return not all(place is not None and Path(place).is_relative_to(root) for place in places)


def _import(code: Code) -> Any:
    module, _, name = code.target.partition(":")
    packages = {name.partition(".")[0] for name in code.sources}
    for loaded in [m for m in sys.modules if m.partition(".")[0] in packages]:
        del sys.modules[loaded]
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _Finder)]
    sys.meta_path.insert(0, _Finder(code))
    try:
        with errors_of(code):
            found: Any = importlib.import_module(module)
    except SyntaxError as error:
        raise CodeError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise CodeError(f"{code.sources[module][0]}: has no {name!r}") from None
    if not callable(found):
        raise CodeError(f"{code.name}: is a {type(found).__name__}, not a class")
    return found


class _Finder(MetaPathFinder):
    """Finder of the user's modules in memory; a folder without `__init__.py` has an empty one.

    A namespace has no `__file__`, which `inspect` does not forgive where a module of the same name
    had one before, as that of another project in the same process.
    """

    def __init__(self, code: Code) -> None:
        self._code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        sources = self._code.sources
        if fullname in sources:
            file, text = sources[fullname]
            package = file.endswith("__init__.py")
            loader = _Loader(file, text, str(Path(self._code.root, file)))
            return ModuleSpec(fullname, loader, origin=file, is_package=package)
        if any(name.startswith(f"{fullname}.") for name in sources):
            file = f"{fullname.replace('.', '/')}/__init__.py"
            loader = _Loader(file, "", str(Path(self._code.root, file)))
            return ModuleSpec(fullname, loader, origin=file, is_package=True)
        return None


class _Loader(InspectLoader):
    """Loader of one module from its text.

    Args:
        file: Its path in the project's folder, which tracebacks show.
        text: Its text.
        place: Its path on the machine that read it, which is its `__file__`.
    """

    def __init__(self, file: str, text: str, place: str) -> None:
        self._file, self._text, self._place = file, text, place

    def get_source(self, fullname: str) -> str:
        return self._text

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._text, self._file)

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self._place
        exec(self.get_code(module.__name__), module.__dict__)
