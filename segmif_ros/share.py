# SPDX-License-Identifier: Apache-2.0
"""Where the files that ship with the package are: models, configuration, launch files."""

from __future__ import annotations

import os
import re
import shlex
import site
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

PACKAGE = "segmif_ros"


def share_path(*parts: str) -> Path:
    """Return the path of a shipped file or folder, for example `share_path("models")`.

    Looks in the source tree (editable install, colcon --symlink-install), then under every prefix
    of AMENT_PREFIX_PATH, then under the Python environment that runs this, then where pip puts
    packages of a single user.

    Raises:
        FileNotFoundError: nothing of that name is installed; the message lists the places.
    """
    source = Path(__file__).resolve().parent.parent
    roots = [source] if (source / "package.xml").is_file() else []
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    prefixes += [sys.prefix, "/usr/local", site.getuserbase()]
    roots += [Path(prefix) / "share" / PACKAGE for prefix in prefixes]
    for root in roots:
        candidate = root.joinpath(*parts)
        if candidate.exists():
            return candidate
    tried = ", ".join(str(root) for root in roots)
    raise FileNotFoundError(
        f"{'/'.join(parts)!r} is not part of this installation of {PACKAGE} (looked in {tried}); "
        "reinstall the package, or give a full path"
    )


def install_command(*extras: str) -> str:
    """Return the command that installs packages of an extra into this Python.

    Args:
        extras: of setup.py, for example "train".

    Returns:
        In a clone, its own installation with the extra. Elsewhere the packages by name, because
        no index has this package.
    """
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    source = Path(__file__).resolve().parent.parent
    if (source / "setup.py").is_file():
        return f"{pip} -e " + shlex.quote(f"{source}[{','.join(extras)}]")
    try:
        stated = [each.partition(";") for each in requires(PACKAGE) or []]
    except PackageNotFoundError:
        stated = []
    wanted = dict.fromkeys(
        shlex.quote(name.strip())
        for name, _, when in stated
        for extra in extras
        if re.search(rf"""extra == ["']{extra}["']""", when)
    )
    return f"{pip} " + (" ".join(wanted) or shlex.quote(f"{PACKAGE}[{','.join(extras)}]"))


def resolve_model(model: str) -> Path:
    """Return the folder of a model given by path or by the name of a shipped bundle.

    Raises:
        FileNotFoundError: neither is there.
    """
    path = Path(model).expanduser()
    if path.is_dir() or path.name != model:
        return path
    return share_path("models", model)
