"""The fused form beside the direct one over sizes of the data, with the paper's hidden sizes."""

import pytest

from tests.benchmarks.bench_training import direct_pair, fused_pair, seconds_of, settings_of


@pytest.mark.parametrize("D", [64, 128, 256, 512, 1024, 2048])
@pytest.mark.parametrize("T", [32, 100, 400])
def test_ratio(benchmark, T, D):
    """Both forms take turns, so that whatever else the machine does slows both."""
    benchmark.group, benchmark.name = f"T = {T}", f"D = {D}"
    sizes, s = (32, T, D, 20), settings_of("paper")
    direct, fused = direct_pair(sizes, s), fused_pair(sizes, s)
    times = []
    benchmark.pedantic(
        fused,
        setup=lambda: times.append(seconds_of(direct)),
        rounds=5 if T * D > 2**17 else 15,
        warmup_rounds=2,
    )
    benchmark.extra_info["note"] = f"{benchmark.stats.stats.min / min(times):.2f}"
