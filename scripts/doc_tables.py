# SPDX-License-Identifier: Apache-2.0
"""Writes what follows from tables in the code: config/segmif.yaml and two tables of the docs.

python scripts/doc_tables.py
"""

from __future__ import annotations

from pathlib import Path

from segmif_ros.parameters import PARAMETERS, Value
from segmif_ros.ros.diagnostics.levels import THRESHOLDS

REPOSITORY = Path(__file__).resolve().parent.parent


def _yaml_scalar(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def parameters_yaml() -> str:
    """Return the text of config/segmif.yaml: every parameter with its default."""
    lines = [
        "# Parameters of segmif_node with their defaults. Written from the table in",
        "# segmif_ros/parameters.py; a test compares the two.",
        "# QoS of a topic: qos_overrides.<topic>.subscription.reliability (or .depth, .history),",
        "# for example qos_overrides: {/camera/image: {subscription: {reliability: reliable}}}",
        "/**:",
        "  ros__parameters:",
    ]
    for spec in PARAMETERS:
        facts = [spec.unit, spec.allowed, f"change: {spec.change.value}"]
        lines += [
            f"    # {spec.text}",
            f"    # [{'; '.join(fact for fact in facts if fact)}]",
            f"    {spec.name}: {_yaml_scalar(spec.default)}",
        ]
    return "\n".join(lines) + "\n"


def parameter_table_markdown() -> str:
    """Return the table of parameters in docs/parameters.md."""
    lines = [
        "| parameter | type | default | unit | range | change | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec in PARAMETERS:
        default = _yaml_scalar(spec.default)
        cells = (
            f"`{spec.name}`",
            spec.type_name,
            f"`{default}`",
            spec.unit,
            spec.allowed,
            spec.change.value,
            spec.text,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def thresholds_markdown() -> str:
    """Return the table of docs/diagnostics.md."""
    lines = ["| status | state | level | what | limit |", "|---|---|---|---|---|"]
    for row in THRESHOLDS:
        beyond = "below" if row.below else "above"
        limit = f"`{row.parameter}`" if row.parameter else f"{row.limit:g} {row.unit}"
        lines.append(
            f"| {row.concern} | `{row.state}` | {row.level.name} | {row.what} | {beyond} {limit} |"
        )
    return "\n".join(lines) + "\n"


def between(text: str, name: str, table: str) -> str:
    """Return a page with another table between `<!-- name -->` and `<!-- /name -->`."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = text.partition(begin)
    old, _, after = rest.partition(end)
    gap = "\n\n" if old.startswith("\n\n") else "\n"
    return f"{before}{begin}{gap}{table.rstrip()}{gap}{end}{after}"


def main() -> None:
    """Write all of them."""
    (REPOSITORY / "config/segmif.yaml").write_text(parameters_yaml(), encoding="utf-8")
    for name, table in (
        ("parameters", parameter_table_markdown()),
        ("thresholds", thresholds_markdown()),
    ):
        page = REPOSITORY / "docs" / {"thresholds": "diagnostics.md"}.get(name, f"{name}.md")
        page.write_text(between(page.read_text(encoding="utf-8"), name, table), encoding="utf-8")


if __name__ == "__main__":
    main()
