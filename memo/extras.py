"""Extras: packages that some jobs need, and that `pip install memo-audit` leaves out."""

from importlib.util import find_spec

from memo.errors import InputError

EXTRAS = {"opacus": "private", "ray": "ray"}
"""The extra that brings each package, as in pyproject.toml."""


def require_extra(package: str, use: str) -> None:
    """Require a package of an extra where it is about to be imported.

    Args:
        package: A package of `EXTRAS`.
        use: The setting that needs it.

    Raises:
        InputError: It is not installed; the message names the setting and the extra.

    Example:
        >>> require_extra("opacus", "'dp-sgd'")  # nothing is said where it is installed
    """
    if find_spec(package) is None:
        raise InputError(
            f"{use}: {package} is not installed; run: pip install 'memo-audit[{EXTRAS[package]}]'"
        )
