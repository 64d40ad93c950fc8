# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from benchmarks.dds.machine import machine_facts


def test_the_processor_and_its_telling_instructions(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(
        "model name\t: Some CPU @ 3 GHz\nflags\t\t: fpu avx2 avx512f sse amx_bf16\n"
    )
    facts = machine_facts(tmp_path / "cpuinfo")
    assert facts["cpu"] == "Some CPU @ 3 GHz"
    assert facts["instructions"] == "avx2 avx512f amx_bf16"
    assert int(facts["cores"]) >= 1


def test_a_machine_without_cpuinfo_still_has_a_name(tmp_path: Path) -> None:
    assert machine_facts(tmp_path / "none")["cpu"]
