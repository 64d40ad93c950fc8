# SPDX-License-Identifier: Apache-2.0
"""Change one operator or number of the core at a time and see whether its tests notice.

    python benchmarks/mutants.py --count 60 --seed 2
    python benchmarks/mutants.py --count 20 --seed 3 segmif_ros/pairing.py

Changes: a comparison moves its bound or turns round, arithmetic and bits swap their operators,
`and` and `or` swap, a condition is negated, `not` goes, a number grows by one, True and False swap,
`continue` and `break` swap. A sample is drawn from all of them and made in a copy of the
repository, where the tests that mirror the file run. What survives is printed: a test is missing,
or the change changes nothing.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parents[1]
IMAGES = sorted(path.stem for path in (ROOT / "segmif_ros" / "images").glob("[a-z]*.py"))
TESTS = sorted(path.stem for path in (ROOT / "test" / "images").glob("test_*.py"))
MIRRORS = {
    "segmif_ros/pairing.py": ("test/test_pairing.py", "test/test_properties.py"),
    "segmif_ros/ros/node/modes.py": ("test/ros/node/test_modes.py", "test/test_properties.py"),
    **{
        f"segmif_ros/images/{name}.py": tuple(
            f"test/images/{each}.py" for each in sorted(TESTS, key=f"test_{name}".__ne__)
        )
        for name in IMAGES
    },
}
"""File -> the tests that have to notice."""
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Add, ast.Pow: ast.Mult, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or,
    ast.Or: ast.And, ast.Continue: ast.Break, ast.Break: ast.Continue,
}  # fmt: skip
TURNED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
"""A second change of a comparison: the other side."""


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node, one at a time."""
    if isinstance(node, ast.Compare):
        for number, sign in enumerate(node.ops):
            for other in filter(None, (SWAPS.get(type(sign)), TURNED.get(type(sign)))):
                new = copy.deepcopy(node)
                new.ops[number] = other()
                yield new
    elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in SWAPS:
        new = copy.deepcopy(node)
        new.op = SWAPS[type(node.op)]()
        yield new
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        new = copy.deepcopy(node)
        new.test = ast.UnaryOp(ast.Not(), node.test)
        yield new
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = node.value
        yield ast.Constant(not value if isinstance(value, bool) else value + 1)
    elif isinstance(node, (ast.Continue, ast.Break)):
        yield SWAPS[type(node)]()


class _Put(ast.NodeTransformer):
    """Puts a node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else super().visit(node)


def possible(source: str) -> list[tuple[int, int]]:
    """Return every change of a source: number of the node as `ast.walk` meets it, and which."""
    nodes = list(ast.walk(ast.parse(source)))
    types = [getattr(node, name, None) for node in nodes for name in ("annotation", "returns")]
    idle = {part for each in types if each is not None for part in ast.walk(each)}
    return [
        (number, which)
        for number, node in enumerate(nodes)
        if node not in idle
        for which, _ in enumerate(_changed(node))
    ]


def changed(source: str, number: int, which: int) -> tuple[int, str, str]:
    """Make one change; return its line, what it is, and the new source."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[number]
    new = list(_changed(node))[which]
    told = f"{ast.unparse(node).splitlines()[0]}  ->  {ast.unparse(new).splitlines()[0]}"
    after = ast.fix_missing_locations(_Put(node, new).visit(tree))
    return getattr(node, "lineno", 0), told, ast.unparse(after)


def _run(folder: Path, tests: tuple[str, ...], limit_s: float) -> bool:
    """Whether the tests pass; one that never ends has noticed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, timeout=limit_s, check=False,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        ).returncode == 0  # fmt: skip
    except subprocess.TimeoutExpired:
        return False


def main() -> int:
    """Print what survived, and the share that was noticed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="*", default=list(MIRRORS), help="default: all of the core")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    sources = {name: (ROOT / name).read_text() for name in args.file}
    total = [(name, *each) for name, source in sources.items() for each in possible(source)]
    drawn = random.Random(args.seed).sample(total, min(args.count, len(total)))
    found = Counter[str]()
    with tempfile.TemporaryDirectory(prefix="segmif_mutants_") as made:
        folder = Path(made) / "copy"
        skip = shutil.ignore_patterns(".*", "images", "results", "__pycache__")
        shutil.copytree(ROOT, folder, ignore=lambda at, names: [
            name for name in skip(at, names) if Path(at, name) != ROOT / "segmif_ros" / "images"
            and Path(at, name) != ROOT / "test" / "images"
        ])  # fmt: skip
        limits: dict[tuple[str, ...], float] = {}
        for tests in {MIRRORS[name] for name, *_ in drawn}:
            began = monotonic()
            assert _run(folder, tests, 900.0), f"{tests} fail without any change"
            limits[tests] = 4.0 * (monotonic() - began) + 10.0
        for name, number, which in sorted(drawn):
            line, told, after = changed(sources[name], number, which)
            (folder / name).write_text(after)
            survived = _run(folder, MIRRORS[name], limits[MIRRORS[name]])
            (folder / name).write_text(sources[name])
            found["survived" if survived else "noticed"] += 1
            print(f"{'SURVIVED' if survived else 'noticed '} {name}:{line}: {told}", flush=True)
    share = found["noticed"] / max(1, len(drawn))
    print(f"{found['noticed']} of {len(drawn)} noticed ({share:.0%}), of {len(total)} possible")
    return 0


if __name__ == "__main__":
    sys.exit(main())
