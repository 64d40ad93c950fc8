# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from benchmarks.dds.tables import comparison_table, markdown, overload_table


def test_columns_line_up() -> None:
    lines = markdown(("name", "ms"), [("a", "1.00"), ("longer", "12.00")]).splitlines()
    assert lines == [
        "| name   |    ms |",
        "| ------ | ----: |",
        "| a      |  1.00 |",
        "| longer | 12.00 |",
    ]


def test_ratios_and_verdicts_are_readable() -> None:
    ratios = {"age_p50_ms": 2.0, "age_p99_ms": 3.456, "cpu_ms_per_result": 1.5, "output_hz": 0.5}
    text = comparison_table({"message-filters": {**ratios, "lost_share": 0.125}})
    assert "3.46" in text
    assert "+12.5 %" in text
    verdict = {
        "factor": 5.0, "sustainable_hz": 18.5, "output_hz": 18.0, "output_share": 0.97,
        "age_p50_ratio": 1.2, "age_p99_ratio": 1.4, "age_last_over_first_tenth": 1.0,
        "memory_mb_per_minute": None, "holds": True,
    }  # fmt: skip
    row = overload_table([verdict]).splitlines()[-1]
    assert "5.0x" in row
    assert row.rstrip(" |").endswith("yes")
