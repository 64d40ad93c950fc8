# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from segmif_ros.cli.main import VERBS, main


def test_help_lists_every_verb(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for verb, line in VERBS.items():
        assert verb in text
        assert line in text


def test_no_arguments_show_the_usage_and_fail(capsys):
    assert main([]) == 2
    assert "usage: segmif VERB" in capsys.readouterr().out


def test_an_unknown_verb_is_named(capsys):
    assert main(["fuse"]) == 2
    assert "no verb 'fuse'" in capsys.readouterr().err


def test_every_verb_has_its_module():
    modules = [f"segmif_ros.cli.{verb.replace('-', '_')}" for verb in VERBS]
    assert [module for module in modules if find_spec(module) is None] == []


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from segmif_ros.cli.main import main; main(['--help']); "
        "heavy = {'torch', 'rclpy', 'cv2', 'numpy', 'onnxruntime'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_interrupted_verb_ends_with_130(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("segmif_ros.cli.bag.parser", interrupted)
    assert main(["bag", "info", "x"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_missing_extra_is_named_with_the_command_that_brings_it(monkeypatch, capsys):
    def without_ros():
        raise ModuleNotFoundError(name="rclpy")

    monkeypatch.setattr("segmif_ros.cli.bag.parser", without_ros)
    assert main(["bag", "play", "x"]) == 1
    assert f"-m pip install -e '{Path(__file__).parents[2]}[ros]'" in capsys.readouterr().err


def test_a_bug_in_our_own_imports_is_not_dressed_up(monkeypatch):
    def broken():
        raise ModuleNotFoundError(name="segmif_ros.oops")

    monkeypatch.setattr("segmif_ros.cli.bag.parser", broken)
    with pytest.raises(ModuleNotFoundError):
        main(["bag", "info", "x"])


@pytest.mark.parametrize("verb", ["bag", "demo"])
def test_verbs_explain_themselves(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert f"usage: segmif {verb}" in capsys.readouterr().out


def test_without_ros_a_bag_is_not_played_and_rclpy_is_named():
    """Message packages are imported before rclpy; none of them is what a person installs."""
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('rclpy', 'builtin_interfaces', 'sensor_msgs',\n"
        "            'rosgraph_msgs', 'std_msgs', 'rcl_interfaces'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import importlib.util as util\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name, *a: None if name == 'rclpy' else real(name, *a)\n"
        "from segmif_ros.cli.main import main\n"
        "sys.exit(main(['bag', 'record', '--out', 'x', '--topics', '/a']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("segmif bag: SEG-E002 no Python package 'rclpy'; source a ROS 2")
    assert done.stderr.count("\n") == 1


SIGNAL_DURING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{number})
            os.read(os.pipe()[0], 1)
sys.meta_path.insert(0, Finder)
from segmif_ros.cli.start import segmif
sys.exit(segmif())
"""


@pytest.mark.parametrize(
    ("number", "module", "words"),
    [
        ("SIGINT", "segmif_ros.cli.main", ["bag", "info", "x"]),
        ("SIGINT", "difflib", ["--help"]),
        ("SIGINT", "segmif_ros.cli.bag", ["bag", "info", "x"]),
        ("SIGTERM", "segmif_ros.ros.tools.player", ["bag", "play", "x"]),
        ("SIGINT", "segmif_ros.ros.tools.player", ["bag", "play", "x"]),
    ],
)
def test_a_signal_while_it_imports_or_reads_ends_it_in_one_line(number, module, words):
    code = SIGNAL_DURING.format(number=number, module=module)
    ran = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (130, "interrupted\n")
