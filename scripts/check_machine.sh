#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Says in one line what is missing before a virtual environment is made. Usage: check_machine.sh PYTHON
set -u
python=$1

fail() {
    echo "segmif_ros: $1" >&2
    exit 1
}

system=$(uname -s)-$(uname -m)
[ "$system" = "Linux-x86_64" ] ||
    fail "this is $system; the ROS 2 wheels exist for Linux on x86-64 only. Use apt ROS or a container, see README"

command -v "$python" >/dev/null 2>&1 ||
    fail "no '$python' here; install Python 3.10 to 3.13 (apt install python3 python3-venv), or give PYTHON=/path/to/python"

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
    fail "'$python' does not run; give another one with PYTHON=..."
case $version in
3.10 | 3.11 | 3.12 | 3.13) ;;
*) fail "'$python' is Python $version; the ROS 2 wheels need 3.10 to 3.13. Give another one, for example PYTHON=python3.12" ;;
esac

"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "'$python' cannot make virtual environments; run: apt install python3-venv (or python$version-venv)"
