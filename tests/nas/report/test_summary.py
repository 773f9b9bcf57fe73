from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import synthetic_run

from nas.report.front import Model, median_latency_error
from nas.report.results import read_results
from nas.report.summary import best, bounds, figures, headline, integer_verdict, latency_verdict, lead
from nas.report.wording import count, embedded, limit, percent, quantity, significant


def model(name: str, accuracy: float = 0.9, latency_ms: float = 1.0, speedup: float | None = None) -> Model:
    gain = None if speedup is None else {"float32_ms": speedup, "int8_ms": 1.0, "speedup": speedup}
    return Model(name, {}, {"latency_ms": 1.0}, accuracy=accuracy, latency_ms=latency_ms, gain=gain)


@pytest.mark.parametrize(
    ("speedups", "verdict", "grounds"),
    [
        ([1.5, 1.2], "int8 is faster than float32 on this machine.", "1.35 times"),
        ([0.8], "int8 is not faster than float32 on this machine.", "0.80 times"),
        ([1.0], "int8 is not faster than float32 on this machine.", "1 int8 model runs at 1.00 times"),
        ([2.0, 0.5, 1.1, None], "int8 is faster than float32 for 2 of 3 models on this machine.", "1.10 times"),
        ([None, None], "int8 was not compared with float32.", "No exported model"),
    ],
)
def test_the_verdict_on_int8_is_what_was_measured(speedups: list[float | None], verdict: str, grounds: str) -> None:
    said, why = integer_verdict([model(str(number), speedup=speedup) for number, speedup in enumerate(speedups)])
    assert said == verdict
    assert grounds in why


def test_float32_models_put_into_int8_count_as_well() -> None:
    said, why = integer_verdict([model("a")], [0.6, 0.9])
    assert said == "int8 is not faster than float32 on this machine."
    assert "left all exported models in float32" in why and "0.60 and 0.90 times" in why
    said, why = integer_verdict([model("a", speedup=0.8)], [0.5, 1.2])
    assert said == "int8 is faster than float32 for 1 of 3 models on this machine."
    assert "1 int8 model runs at 0.80 times" in why and "0.50 and 1.20 times" in why


def test_latency_is_judged_by_the_median_of_relative_errors() -> None:
    models = [model("a", latency_ms=0.8), model("b", latency_ms=1.0), model("c", latency_ms=2.0)]
    assert median_latency_error(models) == pytest.approx(0.25)
    assert "25.0 %" in latency_verdict(models)[0]
    assert "50.0 %" in latency_verdict(models)[1]
    assert median_latency_error([]) is None


def test_models_that_stand_out_are_named_once() -> None:
    slow, close, fast = model("slow", 0.99, 2.0), model("close", 0.985, 1.0), model("fast", 0.95, 0.5)
    assert [(found.why, found.model.id) for found in best([fast, close, slow])] == [
        ("Most accurate", "slow"),
        ("Fastest within 1 point of it", "close"),
        ("Fastest", "fast"),
    ]
    assert [found.model.id for found in best([slow, fast])] == ["slow", "fast"]
    assert best([]) == []


def test_the_summary_says_what_was_searched(run: Path, tmp_path: Path) -> None:
    results = read_results(run)
    assert headline(results) == "Digits · classification"
    assert "minimize error and latency, with latency of at most 0.6" in lead(results)
    assert [value for value, _ in figures(results)][1:] == ["60", str(len(results.front)), str(len(results.models))]
    other = synthetic_run(tmp_path / "run", 20, 2, {"latency_ms": "maximize", "error": "minimize"})
    assert "maximize latency, and minimize error" in lead(read_results(other))
    assert bounds(read_results(other)).startswith(", with latency of at least")


def test_quantities_have_three_digits_and_a_unit() -> None:
    assert quantity("latency_ms", 0.21349) == "0.213\u00a0ms"
    assert quantity("error", 0.0139) == "1.39\u00a0%"
    assert quantity("model_bytes", 12_345) == "12.3\u00a0kB"
    assert quantity("macs", 4_560_000) == "4.56\u00a0M"
    assert quantity("parameters", 512) == "512"
    assert quantity("latency_ms", None) == quantity("latency_ms", float("inf")) == "–"
    assert limit("latency_ms", 0.6) == "0.6\u00a0ms"
    assert percent(0.98765) == "98.77\u00a0%"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.000123456, "0.000123"), (999.9, "1000"), (12345.0, "12300"), (1.0, "1.00"), (-0.5, "-0.500")],
)
def test_significant_digits_are_never_in_exponent_form(number: float, text: str) -> None:
    assert significant(number) == text


def test_large_counts_are_rounded_to_a_power_of_ten() -> None:
    assert count(12_345) == "12,345"
    assert count(3_240_000_000) == "3.2 × 10<sup>9</sup>"
    assert count(9_960_000_000) == "1.0 × 10<sup>10</sup>"


def test_embedded_data_cannot_leave_its_script() -> None:
    text = embedded({"</script><!--": "\u2028&"})
    assert not set("<>&\u2028") & set(text)
    with pytest.raises(ValueError, match="JSON compliant"):
        embedded(float("nan"))
