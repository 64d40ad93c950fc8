# SPDX-License-Identifier: Apache-2.0
"""Where results go: files that are complete or absent, in folders that list what is ours.

A folder that a command writes into holds a marker with the names of what the command made there.
The next run replaces these and nothing else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

MARKER = ".segmif"
_TOLD = "# written by segmif; the next run replaces what is named here and nothing else"
_MOST_BYTES = 65536
_PLAIN = os.O_NOFOLLOW | os.O_CLOEXEC


class OutputError(ValueError):
    """Results cannot go there; the message names the place and the next step."""


def require_absent(
    path: Path, advice: str = "--force replaces it, or choose another place"
) -> None:
    """Refuse to write where something is: a file, or a folder with something in it.

    Raises:
        OutputError: with the place and the advice.
    """
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    if path.is_file() or path.is_dir() or path.is_symlink():
        raise OutputError(f"{path} exists already; {advice}")


@contextmanager
def own_folder(
    folder: Path,
    names: Sequence[str],
    inputs: Iterable[Path | str | None] = (),
    *,
    refused: Sequence[str] = (),
    advice: str = "",
) -> Iterator[None]:
    """Lock a folder for one command: no other writes there, no user's files are replaced.

    Args:
        folder: made if missing.
        names: files and folders that the command makes, or replaces if they are its own.
        inputs: what the command reads; None is left out.
        refused: names of an earlier result that is not replaced.
        advice: what to do where there is one.

    Raises:
        OutputError: an input and the results would lie in each other, another command holds the
            folder, something of a wanted name is there that no command made, or an earlier result.
        OSError: the folder cannot be written.
    """
    require_disjoint(folder, names, inputs)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{str(folder)!r} is a file; give a folder")
    _refuse_foreign(folder, names, _named(folder))
    folder.mkdir(parents=True, exist_ok=True)
    marker = os.open(folder / MARKER, _PLAIN | os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(marker, "r+", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise OutputError(
                f"another command is writing into {str(folder)!r}; wait for its end, or choose "
                "another folder"
            ) from err
        own = _named(folder)
        _refuse_foreign(folder, names, own)
        for name in refused:
            require_absent(folder / name, advice)
        held.write("\n".join([_TOLD, *sorted(own | set(names)), ""]))
        held.truncate()
        held.flush()
        yield


def require_disjoint(
    folder: Path, names: Sequence[str], inputs: Iterable[Path | str | None]
) -> None:
    """Check that results neither become part of an input nor take the place of one.

    Args:
        folder: that results go into.
        names: of the results; none if the folder itself is the result.
        inputs: what is read; None is left out.

    Raises:
        OutputError: with both places.
    """
    out = folder.resolve()
    results = [out / name for name in names] or [out]
    for given in inputs:
        if given is None or not os.path.lexists(given):
            continue
        source = Path(given).resolve()
        if out == source or source in out.parents:
            raise OutputError(
                f"{str(folder)!r} lies in {str(given)!r}, which is read: results would become part "
                "of it; choose a folder outside"
            )
        taken = next((each for each in results if each in (source, *source.parents)), None)
        if taken is not None:
            raise OutputError(
                f"{str(given)!r} is read and lies where results go ({taken}); choose another "
                "folder for the results"
            )


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that is there completely or not at all, also after a crash or a full disk.

    A link of that name is replaced; what it leads to stays as it is.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    how = _PLAIN | os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(part, how, 0o666), "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside `path`; what is written there is renamed at the end.

    An exception leaves `path` as it was. Whether a folder that is there may be replaced is for the
    caller to decide.

    Raises:
        OSError: it cannot be written, with the name of `path`.
    """
    hidden = None
    try:
        hidden = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        yield hidden / path.name
        if path.is_dir() and not path.is_symlink():
            path.rename(hidden / f"{path.name}.replaced")
        try:
            (hidden / path.name).rename(path)
        except OSError:
            if (hidden / f"{path.name}.replaced").exists():
                (hidden / f"{path.name}.replaced").rename(path)
            raise
    except OSError as err:
        if err.errno is None or not str(err.filename or hidden).startswith(str(hidden or "")):
            raise
        raise OSError(err.errno, os.strerror(err.errno), str(path)) from err
    finally:
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)


def _named(folder: Path) -> set[str]:
    """Return the names in a folder's marker; none where there is no marker of ours."""
    try:
        descriptor = os.open(
            folder / MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        )
    except FileNotFoundError:
        return set()
    except OSError as err:
        if err.errno == errno.ELOOP:
            raise OutputError(f"{folder / MARKER} is no marker of ours; remove it") from err
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OutputError(f"{folder / MARKER} is no marker of ours; remove it")
    with os.fdopen(descriptor, "rb") as marker:
        lines = marker.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
    if lines and lines[0] != _TOLD:
        raise OutputError(f"{folder / MARKER} is no marker of ours; remove it")
    return set(lines[1:])


def _refuse_foreign(folder: Path, names: Sequence[str], own: set[str]) -> None:
    for name in names:
        path = folder / name
        if path.is_symlink():
            raise OutputError(f"{path} is a link; remove it, or choose another folder")
        if name not in own and os.path.lexists(path):
            raise OutputError(
                f"{path} is there already and was not written by segmif into this folder; move it "
                "away, or choose another folder"
            )
