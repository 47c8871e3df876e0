"""Remotes that others write to: what git does not record gets neither into the cache nor out."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo
from hypothesis import given
from hypothesis import strategies as st

from memo.artifacts.tracked.listing import ListingError, is_md5, parse_listing
from memo.commands.fsck import fsck
from memo.commands.pull import PullError, pull
from memo.errors import InputError, WorkError
from tests.conftest import Remote, command

# of a library of DVC's
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

FILES = {"r000-f000.safetensors": b"first" * 50, "charts/a.svg": b"<svg/>", "same.txt": b"<svg/>"}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def git(folder: Path, *arguments: str) -> None:
    names = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def author(tmp_path: Path) -> Path:
    """A project whose author has tracked a folder and a file, and pushed them to a folder."""
    folder = tmp_path / "author"
    (folder / "artifacts" / "charts").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, content in FILES.items():
        (folder / "artifacts" / name).write_bytes(content)
    (folder / "scores.parquet").write_bytes(b"scores")
    (tmp_path / "remote").mkdir()
    with Repo.init(str(folder)) as repository, repository.config.edit() as settings:
        settings["remote"] = {"group": {"url": str(tmp_path / "remote")}}
        settings["core"]["remote"] = "group"
    with Repo(str(folder)) as repository:
        repository.add([str(folder / "artifacts"), str(folder / "scores.parquet")])
        repository.push()
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Results")
    return folder


@pytest.fixture
def clone(author: Path, tmp_path: Path) -> Iterator[Path]:
    """A colleague's clone, with nothing of DVC's in it; nothing is written beside it."""
    git(tmp_path, "clone", "-q", "author", "clone")
    before = everything(tmp_path, "clone")
    yield tmp_path / "clone"
    assert everything(tmp_path, "clone") == before


def everything(folder: Path, but: str) -> set[str]:
    """Files and folders below one, without those in the remote, which tests alter."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.relative_to(folder).parts[0] not in (but, "remote") and ".dvc" not in path.parts
    }


def objects(folder: Path) -> Path:
    return folder / "files" / "md5"


def place(remote: Path, oid: str) -> Path:
    return objects(remote) / oid[:2] / oid[2:]


def listing_of(remote: Path) -> Path:
    (found,) = objects(remote).glob("*/*.dir")
    return found


def in_project(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in (".git", ".dvc")
    }


EXPECTED = {f"artifacts/{name}": content for name, content in FILES.items()} | {
    "scores.parquet": b"scores"
}


def test_what_git_records_is_pulled_checked_out_and_up_to_date(clone: Path) -> None:
    pulled = pull(clone)
    assert (pulled.files, pulled.fetched, pulled.left) == (4, 4, [])  # two files have one content
    assert EXPECTED.items() <= in_project(clone).items()
    with Repo(str(clone)) as repository:
        assert repository.status() == {}
    assert pull(clone).fetched == 0


def test_the_command_says_what_it_did_and_what_it_could_not(clone: Path, tmp_path: Path) -> None:
    place(tmp_path / "remote", md5(b"scores")).unlink()
    found = command(clone, "memo", "pull", check=False)
    assert found.returncode == 1
    assert "not taken: scores.parquet: object" in found.stderr
    assert "is not there; have whoever made it run: dvc push" in found.stderr
    assert "memo: 1 of 5 files and lists of files cannot be had as git records them" in found.stderr
    place(tmp_path / "remote", md5(b"scores")).write_bytes(b"scores")
    found = command(clone, "memo", "pull", "-r", "group")
    assert found.stdout == "4 files are as git records them; 1 objects were fetched\n"
    found = command(clone, "memo", "pull", "--json")
    assert json.loads(found.stdout) == {"files": 4, "fetched": 0, "left": []}


def test_a_list_that_leads_out_is_refused_before_anything_is_fetched(
    clone: Path, tmp_path: Path
) -> None:
    remote = tmp_path / "remote"
    written = json.loads(listing_of(remote).read_bytes())
    (tmp_path / "remote" / "payload").write_bytes(b"payload")
    for change in (
        {"md5": "aa/../../../../../../X"},
        {"md5": "aa../../../../../X"},
        {"md5": "A" * 32},
        {"relpath": "../../Y"},
        {"relpath": "/tmp/Y"},
    ):
        forged = json.dumps([{**written[0], **change}, *written[1:]]).encode()
        listing_of(remote).chmod(0o644)
        listing_of(remote).write_bytes(forged)
        with pytest.raises(PullError) as caught:
            pull(clone)
        (problem,) = caught.value.problems
        assert f"is not what git records: its MD5 is {md5(forged)}; it is not taken" in problem
        assert not list(objects(clone / ".dvc" / "cache").glob("*/*.dir"))
        assert "scores.parquet" not in in_project(clone)


def test_a_list_that_leads_out_is_refused_though_git_records_it(
    clone: Path, author: Path, tmp_path: Path
) -> None:
    """Only whoever writes to git can make such a list, but it may be by mistake."""
    remote = tmp_path / "remote"
    for change, reason in (
        ({"md5": "aa/../../../../../../X"}, "which is no MD5"),
        ({"relpath": "../../../Y"}, "leads out of its folder"),
        ({"relpath": "a\\..\\b"}, "has a backslash"),
        ({"relpath": "C:/x"}, "is absolute"),
        ({"relpath": "charts"}, "as a file and as a folder"),
        ({"relpath": ".git/hooks/post-checkout"}, "git's or DVC's own"),
        ({"relpath": ".GIT/config"}, "git's or DVC's own"),
        ({"relpath": "a\nb"}, "has control characters"),
        ({"relpath": "a\u202eb"}, "has control characters"),
        ({"relpath": "same.txt"}, "twice"),
        ({"relpath": 3}, "is no text"),
        ({"etag": "x"}, "no MD5 with a path"),
    ):
        written = json.loads(listing_of(remote).read_bytes())
        entry = next(one for one in written if one["relpath"].startswith("r000"))
        forged = json.dumps([{**entry, **change}, *(e for e in written if e is not entry)]).encode()
        oid = f"{md5(forged)}.dir"
        place(remote, oid).parent.mkdir(exist_ok=True)
        place(remote, oid).write_bytes(forged)
        record = (author / "artifacts.dvc").read_text()
        (clone / "artifacts.dvc").write_text(
            record.replace(listing_of_record(record), oid), encoding="utf-8"
        )
        with pytest.raises(PullError) as caught:
            pull(clone)
        assert reason in caught.value.problems[0], change
        assert "artifacts: the list of its files" in caught.value.problems[0]
        assert "scores.parquet" not in in_project(clone)
        removed = fsck(clone).removed
        assert len(removed) == 1
        assert reason in removed[0], (change, removed)
        place(remote, oid).unlink()


def listing_of_record(record: str) -> str:
    return next(line.split()[-1] for line in record.splitlines() if line.endswith(".dir"))


@pytest.mark.parametrize("kind", ["another content", "more of it", "nothing", "a link", "a fifo"])
def test_an_object_that_is_not_what_git_records_is_not_taken(
    kind: str, clone: Path, tmp_path: Path
) -> None:
    oid = md5(FILES["r000-f000.safetensors"])
    file = place(tmp_path / "remote", oid)
    file.unlink()
    reason = "is not what git records"
    if kind == "a link":
        (tmp_path / "remote" / "elsewhere").write_bytes(FILES["r000-f000.safetensors"])
        file.symlink_to(tmp_path / "remote" / "elsewhere")
        reason = "is a link"
    elif kind == "a fifo":
        os.mkfifo(file)
        reason = "is no file"
    else:
        content = {"another content": b"forged", "more of it": b"x" * 10_000, "nothing": b""}[kind]
        file.write_bytes(content)
        reason = "is larger than the" if kind == "more of it" else reason
    with pytest.raises(PullError) as caught:
        pull(clone)
    (problem,) = caught.value.problems
    assert f"object {oid} on remote 'group'" in problem
    assert reason in problem
    assert "r000-f000.safetensors" in problem
    assert not place(clone / ".dvc" / "cache", oid).exists()
    assert "scores.parquet" not in in_project(clone)


@pytest.mark.parametrize("depth", ["shard", "md5", "files"])
def test_links_among_the_folders_of_a_remote_are_refused(
    depth: str, clone: Path, tmp_path: Path
) -> None:
    file = place(tmp_path / "remote", md5(b"scores"))
    folder = {"shard": file.parent, "md5": file.parent.parent, "files": file.parent.parent.parent}
    linked = folder[depth]
    away = tmp_path / "remote" / "away"
    linked.rename(away)
    linked.symlink_to(away)
    with pytest.raises(PullError) as caught:
        pull(clone)
    assert any(f"{linked} is a link" in problem for problem in caught.value.problems)


def test_a_cache_that_was_filled_by_dvc_is_checked_again(clone: Path, tmp_path: Path) -> None:
    """After `dvc fetch` a damaged file is in the cache, and DVC takes it for whole."""
    with Repo(str(clone)) as repository:
        repository.fetch()
    cache = clone / ".dvc" / "cache"
    cached = place(cache, md5(b"scores"))
    cached.chmod(0o644)
    cached.write_bytes(b"forged")
    cached.chmod(0o444)
    shard = place(cache, md5(b"<svg/>")).parent
    outside = clone.with_name("remote") / "outside"
    shard.rename(outside)
    shard.symlink_to(outside)
    kept = {path: path.read_bytes() for path in outside.iterdir()}
    assert pull(clone).fetched == 2
    assert EXPECTED.items() <= in_project(clone).items()
    assert {path: path.read_bytes() for path in outside.iterdir()} == kept


def test_work_that_is_not_saved_is_not_overwritten(clone: Path) -> None:
    (clone / "scores.parquet").write_bytes(b"mine")
    with pytest.raises(
        WorkError, match=r"unsaved files .*scores\.parquet .*move what is in the way"
    ):
        pull(clone)
    assert (clone / "scores.parquet").read_bytes() == b"mine"
    (clone / "scores.parquet").unlink()
    pull(clone)
    assert EXPECTED.items() <= in_project(clone).items()


def test_a_folder_within_the_repository_is_pulled_with_it(clone: Path) -> None:
    (clone / "below").mkdir()
    assert pull(clone / "below").files == 4


def test_fsck_goes_on_where_a_file_cannot_be_checked_and_removes_links(clone: Path) -> None:
    pull(clone)
    cache = objects(clone / ".dvc" / "cache")
    (cache / "00").mkdir(exist_ok=True)
    (cache / "00" / ("0" * 30)).mkdir()  # a folder in the place of a file
    (cache / "ff").mkdir(exist_ok=True)
    (cache / "ff" / "not-an-md5").write_bytes(b"")
    damaged = place(clone / ".dvc" / "cache", md5(b"scores"))
    damaged.chmod(0o644)
    damaged.write_bytes(b"x")
    link = cache / "fe"
    shutil.rmtree(link, ignore_errors=True)
    link.symlink_to(clone.parent)
    checked = fsck(clone)
    assert checked.removed == [
        f"{file}: {reason}"
        for file, reason in sorted(
            [
                (damaged, "is not what its name says"),
                (link, "is a link"),
                (cache / "ff" / "not-an-md5", "has a name that is no MD5"),
            ]
        )
    ]
    assert len(checked.unchecked) == 1
    assert "cannot be removed" in checked.unchecked[0]
    found = command(clone, "memo", "fsck", check=False)
    assert found.returncode == 1
    assert "not checked: " in found.stderr
    found = command(clone, "memo", "fsck", "--json", check=False)
    assert found.returncode == 1
    assert json.loads(found.stdout) == {
        "files": checked.files - 3,
        "removed": [],
        "unchecked": checked.unchecked,
    }


def test_what_dvc_remembers_of_a_forged_list_is_not_used(clone: Path, tmp_path: Path) -> None:
    """DVC keeps what it read from lists beside its cache, under the name of the list."""
    listed = listing_of(tmp_path / "remote")
    truth = listed.read_bytes()
    written = json.loads(truth)
    written[0]["relpath"] = "../escaped/Y"
    listed.chmod(0o644)
    listed.write_bytes(json.dumps(written).encode())
    command(clone, "dvc", "pull")
    (clone / "escaped" / "Y").unlink()
    with pytest.raises(PullError):
        pull(clone)
    assert not list(clone.rglob("Y"))
    listed.write_bytes(truth)
    pull(clone)
    assert EXPECTED.items() <= in_project(clone).items()
    assert not list(clone.rglob("Y"))


def test_a_remote_over_ssh(author: Path, clone: Path, remote: Remote) -> None:
    for folder in (author, clone):
        with Repo(str(folder)) as repository, repository.config.edit() as settings:
            settings["remote"] = {"group": {"url": remote.url}}
        remote.open_for(folder)
    with Repo(str(author)) as repository:
        repository.push()
    served = remote.key.parent / "served" / "results"
    assert pull(clone).fetched == 4
    assert EXPECTED.items() <= in_project(clone).items()
    shutil.rmtree(clone / ".dvc" / "cache")
    (clone / "scores.parquet").unlink()
    forged = place(served, md5(b"scores"))
    forged.chmod(0o644)
    forged.write_bytes(b"forged")
    with pytest.raises(PullError, match="1 of 5 files") as caught:
        pull(clone)
    assert "is not what git records" in caught.value.problems[0]
    assert "scores.parquet" not in in_project(clone)
    shutil.rmtree(clone / ".dvc" / "cache")
    listing_of(served).unlink()
    with pytest.raises(PullError) as caught:
        pull(clone)
    assert "is not there; have whoever made it run: dvc push" in caught.value.problems[0]
    remote.key.write_text("no key")
    with pytest.raises(InputError, match="on remote 'group'"):
        pull(clone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-r", "nowhere"), "nowhere"),
        (("-r", "../x"), "../x"),
    ],
)
def test_remotes_that_are_none(arguments: tuple[str, ...], message: str, clone: Path) -> None:
    with pytest.raises(InputError, match=message):
        pull(clone, arguments[1])


def test_folders_that_are_no_project(tmp_path: Path) -> None:
    for act in (pull, fsck):
        with pytest.raises(InputError, match=str(tmp_path)):
            act(tmp_path)


def test_names_of_any_script_may_be_in_a_folder() -> None:
    names = [
        "é.svg",
        "漢　字/a b.txt",
        "\U0001f9d1\u200d\U0001f4bb.png",
        "...",
        "a..b",
        ".gitignore",
    ]
    content = json.dumps([{"md5": md5(b""), "relpath": name} for name in names]).encode()
    assert list(parse_listing(content)) == names


@given(st.text() | st.from_regex(r"[0-9a-f./]{30,40}"))
def test_only_md5s_name_objects(oid: str) -> None:
    expected = len(oid) == 32 and set(oid) <= set("0123456789abcdef")
    assert is_md5(oid) == expected


PARTS = st.sampled_from(["..", ".", "", "a", "b.txt", ".git", "c\\d", "\x1b[2J", "C:", "é"])


@given(paths=st.lists(st.lists(PARTS, max_size=4).map("/".join), max_size=4))
def test_a_list_is_taken_only_if_its_paths_stay_inside(paths: list[str]) -> None:
    content = json.dumps([{"md5": md5(b""), "relpath": path} for path in paths]).encode()
    good: Callable[[str], bool] = lambda path: not set(path.split("/")) & {  # noqa: E731
        "..", ".", "", ".git", "c\\d", "\x1b[2J"
    } and not path.startswith("C:")  # fmt: skip
    clash = any(one.startswith(f"{two}/") for one in paths for two in paths)
    try:
        assert set(parse_listing(content)) == set(paths)
    except ListingError:
        assert clash or len(set(paths)) < len(paths) or not all(map(good, paths))
    else:
        assert not clash
        assert all(map(good, paths))
