"""Directories that appear whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STALE_SECONDS = 24 * 3600
_OLD = "old"


@contextmanager
def new_directory(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary directory beside ``path`` and rename it to ``path`` at the end.

    After an exception the temporary directory is removed; one left by a killed process is removed
    by the next call for the same path, which also puts back what was about to be replaced.

    force: replace an existing directory instead of raising FileExistsError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in list(path.parent.iterdir()):
        if _is_stale(leftover, path.name):
            if (leftover / _OLD).is_dir() and not path.exists():
                (leftover / _OLD).rename(path)  # killed between the two renames below
            shutil.rmtree(leftover, ignore_errors=True)
    if path.exists() and not force:
        raise FileExistsError(str(path))
    temporary = _temporary_beside(path)
    try:
        yield temporary
        if force and path.exists():
            # A directory cannot be renamed over a full one: the old one is moved away first.
            replaced = _temporary_beside(path)
            path.rename(replaced / _OLD)
            temporary.rename(path)
            shutil.rmtree(replaced, ignore_errors=True)
        elif path.exists():  # another process was faster
            raise FileExistsError(str(path))
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_beside(path: Path) -> Path:
    owner = f"{socket.gethostname()}-{os.getpid()}"
    prefix = f".{path.name}.building-{owner}-"
    temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    temporary.chmod(0o755)  # mkdtemp gives 0o700, which other users could not open
    return temporary


def _is_stale(candidate: Path, target: str) -> bool:
    """Whether a path is a temporary directory of ``target`` that no running process writes."""
    pattern = rf"\.{re.escape(target)}\.building-(?P<host>.+)-(?P<pid>\d+)-\w+"
    match = re.fullmatch(pattern, candidate.name)
    if match is None:
        return False
    try:
        if time.time() - candidate.stat().st_mtime > _STALE_SECONDS:
            return True
    except OSError:
        return False
    # A process id says nothing on another host, and on Windows signal 0 would end the process.
    if os.name != "posix" or match["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(match["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
