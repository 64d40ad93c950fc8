# SPDX-License-Identifier: Apache-2.0
"""What all verbs share: one parser, one spelling of each option, one table of exit codes."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from segmif_ros.cli.spellings import OLD_SPELLINGS
from segmif_ros.error_codes import USAGE, code_of
from segmif_ros.outputs import OutputError, require_absent

if TYPE_CHECKING:
    from tqdm import tqdm

_LOG_S = 5.0


def say(text: str) -> None:
    """Write a line or block for people, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Write a line that is no result, at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def next_step(command: str) -> None:
    """Write which command usually follows; on stderr, because it is no result."""
    note(f"next: {command}")


def progress_bar(**options: Any) -> tqdm[Any]:
    """Return a progress bar: one that goes away on a terminal, a line every 5 s in a log file."""
    from tqdm import tqdm  # `segmif doctor` starts without it

    if sys.stderr.isatty():
        return tqdm(leave=False, mininterval=0.2, **options)
    log: Any = _Lines()
    return tqdm(leave=False, mininterval=_LOG_S, delay=_LOG_S, file=log, **options)


class _Lines:
    """A stream for tqdm that writes lines instead of returning to the start of one."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


FINE, FAILED, WRONG_USE, VERDICT, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes of every verb; `segmif --help` says what they mean."""

_LONG_MESSAGE = 400


class UsageError(ValueError):
    """The options contradict each other, or one has an unusable value."""


class Parser(argparse.ArgumentParser):
    """A parser that accepts old spellings, suggests corrections and shows an example."""

    def __init__(
        self,
        prog: str,
        example: str = "",
        *,
        work: Callable[[argparse.Namespace], int] | None = None,
        check: Callable[[argparse.Namespace], None] = lambda _: None,
        expected: tuple[type[Exception], ...] = (),
        misuse: tuple[type[Exception], ...] = (),
        **options: Any,
    ) -> None:
        """Make a parser; its verbs are parsers of the same kind.

        Args:
            prog: what people type, for example "segmif bag make".
            example: command lines that work.
            work: gets what was parsed and returns the exit code.
            check: raises UsageError for options that do not go together.
            expected: errors of other packages that the work may end with; our own and those of
                the system always may.
            misuse: errors that mean wrong use.
            options: as of `argparse.ArgumentParser`.
        """
        if example:
            indented = "\n".join(f"  {line}".rstrip() for line in example.strip().splitlines())
            options["epilog"] = f"example:\n{indented}\n" + options.get("epilog", "")
        super().__init__(prog=prog, formatter_class=_HelpFormatter, allow_abbrev=False, **options)
        self.set_defaults(prog=self.prog, **({} if work is None else {"work": work}))
        self.check = check
        self.misuse: tuple[type[Exception], ...] = (UsageError, OutputError, *misuse)
        self.expected: tuple[type[Exception], ...] = (OSError, *expected)
        self._words: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, old spellings included; each verb refuses unknown words itself."""
        self._words = _respelled(self.prog, sys.argv[1:] if args is None else args)
        found, unknown = super().parse_known_args(self._words, namespace)
        if getattr(found, "old_out", None) is not None:
            _hint(self.prog, "the last word", "--out")
            found.out = found.out or found.old_out
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        if hasattr(found, "old_out"):
            if found.out is None:
                self.error("the following arguments are required: --out")
            del found.old_out  # the parent's parser gets the same namespace
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Report in one line what is wrong and what may have been meant; exit code 2."""
        self.exit(WRONG_USE, f"{self.prog}: {USAGE} {message}{self._guess(message)}; see --help\n")

    def _guess(self, message: str) -> str:
        known = [name for action in self._actions for name in action.option_strings]
        unknown = re.match(r"unrecognized arguments: .*?(-[\w-]+)", message)
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.+)\)", message)
        if unknown:
            return did_you_mean(unknown[1], known)
        if choice:
            return did_you_mean(choice[1], re.findall(r"[\w.+-]+", choice[2]))
        if "are required: -" in message:  # or mistyped
            flags = (word.partition("=")[0] for word in self._words if word.startswith("--"))
            return "".join(
                f"; {flag} is no option{did_you_mean(flag, known)}"
                for flag in flags
                if flag not in known
            )
        return ""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.help or ""
        silent = (None, False, argparse.SUPPRESS)
        if "(default" in shown or action.default in silent or not action.option_strings:
            return shown
        return shown + (" (default: %(default)s)" if action.default != [] else "")


def run(parser: Parser, argv: Sequence[str]) -> int:
    """Parse, work and return the exit code; an error becomes one line.

    Args:
        parser: of the verb.
        argv: words behind the verb.
    """
    args = parser.parse_args(list(argv))
    try:
        try:
            parser.check(args)
        except UsageError as err:
            parser.error(str(err))
        return int(args.work(args))
    except BrokenPipeError:
        raise
    except Exception as err:
        if isinstance(err, parser.misuse):
            return _failed(args.prog, err, WRONG_USE)
        if isinstance(err, parser.expected) or type(err).__module__.startswith("segmif_ros."):
            return _failed(args.prog, err, FAILED)
        raise


def _failed(prog: str, err: Exception, code: int) -> int:
    text = str(err) or repr(err)
    if len(text) < _LONG_MESSAGE:
        text = " ".join(text.split())
    elif not type(err).__module__.startswith("segmif_ros."):
        text = text.splitlines()[0]  # other packages' are pages long; ours quote a process's log
    sys.stderr.write(f"{prog}: {code_of(err)} {text}\n")
    return code


def did_you_mean(given: str, known: Sequence[str]) -> str:
    """Return "; did you mean X?" for a mistyped word, else nothing."""
    longer = [name for name in known if len(given) > 2 and name.startswith(given)]
    near = longer or get_close_matches(given, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _respelled(prog: str, words: Sequence[str]) -> list[str]:
    """Return the words with old spellings replaced, each with a hint."""
    found: list[str] = []
    verb = prog.removeprefix("segmif ")
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        after = words[place + 1] if place + 1 < len(words) else ""
        for old in OLD_SPELLINGS:
            if flag == old.old and verb in old.verbs and old.meant(value if equals else after):
                _hint(prog, old.old, old.new)
                flag = old.new
                break
        found.append(flag + equals + value)
    return found


def _hint(prog: str, old: str, new: str) -> None:
    sys.stderr.write(f"{prog}: {old} is {new} now; the old spelling ends with the next release\n")


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a parser of whole numbers of a range."""
    expected = f"{least} or more" if most is None else f"{least} to {most}"

    def parse(text: str) -> int:
        number = int(text) if re.fullmatch(r"-?\d{1,18}", text) else None
        if number is None or number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number, {expected}")
        return number

    return parse


def number(above: float, most: float = math.inf) -> Callable[[str], float]:
    """Return a parser of finite numbers above `above`, up to `most`."""
    expected = f"above {above:g}" + (f", up to {most:g}" if math.isfinite(most) else "")

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (above < value <= most and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"{text!r}, expected a number {expected}")
        return value

    return parse


def size(least: int, most: int = 65536) -> Callable[[str], tuple[int, int]]:
    """Return a parser of "640x480", width first, to (height, width)."""

    def parse(text: str) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", text)
        width, height = (int(found[1]), int(found[2])) if found else (0, 0)
        if not least <= min(width, height) <= max(width, height) <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r}, expected WIDTHxHEIGHT such as 640x480, {least} to {most} pixels a side"
            )
        return height, width

    return parse


def as_size(shape: tuple[int, int]) -> str:
    """Return (height, width) as people type it: "640x480"."""
    return f"{shape[1]}x{shape[0]}"


def require_landscape(shape: tuple[int, int], *, confirmed: bool) -> None:
    """Ask before a model becomes higher than wide: sizes were given as HxW in earlier versions.

    Raises:
        UsageError: not confirmed.
    """
    height, width = shape
    if height <= width or confirmed:
        return
    text = f"--size {width}x{height} is {width} wide and {height} high"
    if sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write(f"{text}. A portrait model? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise UsageError(f"{text}; give --size {height}x{width}, or --portrait if that is meant")


_LISTENED = "(default: by names and encodings)"

_SHARED: Mapping[str, Mapping[str, Any]] = {
    "bundle": {
        "metavar": "BUNDLE",
        "help": "folder of a model bundle, or the name of a shipped one",
    },
    "--model": {
        "metavar": "BUNDLE",
        "default": "segmif-nano",
        "help": "folder of a model bundle, or the name of a shipped one",
    },
    "--engine": {"default": "auto", "help": "runtime of the network"},
    "--threads": {
        "type": whole(0, 256),
        "default": 0,
        "metavar": "N",
        "help": "CPU threads, 0 for all cores",
    },
    "--engine-cache": {"type": Path, "metavar": "FOLDER", "help": "where built engines are kept"},
    "--precision": {
        "default": "auto",
        "help": "precision to compute in",
    },
    "--rgb-topic": {"metavar": "TOPIC", "help": f"images of the RGB camera {_LISTENED}"},
    "--thermal-topic": {"metavar": "TOPIC", "help": f"images of the thermal camera {_LISTENED}"},
    "--calibration": {"type": Path, "metavar": "YAML", "help": "thermal to RGB geometry"},
    "--classes": {
        "metavar": "LIST",
        "help": "class list: a name under config/labels, or a .yaml file",
    },
    "--pairs": {
        "type": Path,
        "metavar": "FOLDER",
        "help": "pairs of pictures: FOLDER/visible/* and FOLDER/infrared/* of the same names",
    },
    "--limit": {"type": whole(1), "metavar": "N", "help": "at most N pairs"},
    "--start": {"type": whole(0), "default": 0, "metavar": "N", "help": "leave out the first N"},
    "--every": {"type": whole(1), "default": 1, "metavar": "N", "help": "only every Nth"},
    "--seconds": {"type": number(0.0), "metavar": "SECONDS", "help": "at most so long"},
    "--size": {
        "type": size(64),
        "metavar": "WxH",
        "help": "width x height of the pictures that the model takes",
    },
    "--portrait": {"action": "store_true", "help": "a --size that is higher than wide is meant"},
    "--json": {"action": "store_true", "help": "print JSON instead of text"},
    "--force": {"action": "store_true", "help": "replace an existing result"},
    "--out": {"type": Path, "metavar": "PATH", "help": "where the result goes"},
}


def shared(to: argparse._ActionsContainer, *names: str, **changes: Any) -> None:
    """Add options that several verbs have, with what is different here."""
    for name in names:
        to.add_argument(name, **{**_SHARED[name], **_choices(name), **changes})


def _choices(name: str) -> Mapping[str, Any]:
    """Return the choices of an option; `segmif doctor` starts where their modules do not."""
    if name == "--engine":
        from segmif_ros.engines import ENGINES

        return {"choices": ENGINES}
    if name == "--precision":
        from segmif_ros.bundle import PRECISIONS

        return {"choices": ("auto", *PRECISIONS)}
    return {}


def refuse_existing(args: argparse.Namespace, *names: str) -> None:
    """Refuse to replace existing results, unless --force is given.

    Raises:
        OutputError: with the place.
    """
    for name in names:
        path = getattr(args, name)
        if path is not None and not args.force:
            option = f"--{name.replace('_', '-')}"
            require_absent(path, f"--force replaces it, or choose another place with {option}")


def out_that_was_last(parser: Parser, help: str, *, metavar: str = "BAG") -> None:  # noqa: A002
    """Add --out, and for one release the word at the end that it was before."""
    shared(parser, "--out", metavar=metavar, help=help)
    parser.add_argument("old_out", nargs="?", type=Path, help=argparse.SUPPRESS)
