"""The catalogue of operators says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas import operators

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
MEND = "stale: run benchmarks/operators.py --write"
NO_REFERENCE = {"identity", "none"}
"""Nobody's invention."""


@pytest.mark.slow
def test_the_kept_facts_are_those_of_the_code() -> None:
    kept, computed = operators.known()["operators"], operators.computed()
    assert kept.keys() == computed.keys()
    for role, rows in computed.items():
        assert kept[role].keys() == rows.keys(), MEND
        for kind, facts in rows.items():
            assert {name: kept[role][kind][name] for name in facts} == facts, f"{kind}: {MEND}"


def test_the_page_is_that_of_the_kept_facts() -> None:
    assert PAGE.read_text(encoding="utf-8") == operators.page(operators.known()), MEND


def test_every_operator_has_a_reference_and_a_latency() -> None:
    for role, rows in operators.known()["operators"].items():
        for kind, row in rows.items():
            assert row["references"] or kind in NO_REFERENCE, f"{role}/{kind}"
            assert row["latency_ms"] is not None, f"{role}/{kind}"
            assert row["export"] == "" or len(row["export"]) > 20, "why not?"
