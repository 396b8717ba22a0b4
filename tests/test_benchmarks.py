"""The benchmarks' arithmetic: what turns times into the figures that are reported."""

import pytest
from transformers import GPTBigCodeConfig

from benchmarks import report
from benchmarks.contenders import kv_values, streamed_weights
from benchmarks.speed import share
from benchmarks.timeline import Reply, decode_rate, gaps, percentile
from tests.engines import load_module


def reply(*times):
    return Reply(list(range(len(times))), list(times))


def test_the_decode_rate_counts_only_while_all_decode():
    alone = reply(1.0, 1.5, 2.0)
    assert decode_rate([alone]) == 2
    late = reply(1.5, 1.75, 2.0, 2.25)
    assert decode_rate([alone, late]) == (1 + 2) / 0.5
    assert decode_rate([alone, reply(3.0, 4.0)]) is None


def test_gaps_are_those_that_touch_the_span():
    stalled = reply(0.0, 1.0, 5.0, 6.0)
    assert gaps([stalled]) == [1, 4, 1]
    assert gaps([stalled], 2.0, 3.0) == [4]


@pytest.mark.parametrize("part, value", [(0, 1), (0.5, 3), (0.99, 4), (1, 4)])
def test_percentiles(part, value):
    assert percentile([4, 2, 1, 3], part) == value
    assert percentile([], part) is None


def test_the_weights_that_a_step_reads(tiny_checkpoint):
    module = load_module(tiny_checkpoint)
    matrices = {n: p for n, p in module.named_parameters() if p.dim() == 2 and "wpe" not in n}
    assert streamed_weights(module.config) == sum(p.numel() for p in matrices.values())


def test_the_share_of_the_bandwidth():
    """StarCoder in bfloat16: 30.9 GB a step, and 20 KiB of KV for each token of context."""
    config = GPTBigCodeConfig(n_layer=40, n_embd=6144, n_head=48, n_inner=24576, vocab_size=49152)
    assert 2 * kv_values(config) == 20 * 1024

    class Contender:
        weight_bytes, kv_bytes = 2 * streamed_weights(config), 2 * kv_values(config)

    assert Contender.weight_bytes == pytest.approx(30.93e9, rel=1e-3)
    one, many = (share(Contender, (batch, 6000), 10, 3e12) for batch in (1, 64))
    assert one == pytest.approx(10 * 31.05e9 / 3e12, rel=1e-3)
    assert many < one / 40  # the weights are read once for all


@pytest.mark.parametrize("there", ["", "## Speed\n\nold\n\n"])
def test_a_section_is_added_or_replaced(tmp_path, there):
    path = tmp_path / "RESULTS.md"
    path.write_text(f"# Results\n\n{there}## Soak\n\nfine\n")
    for text in ("first", "second"):
        report.write_section("Speed", text, path)
    sections = path.read_text().split("## ")
    assert sorted(sections) == [
        "# Results\n\n",
        "Soak\n\nfine\n" + "\n" * (not there),
        "Speed\n\nsecond\n" + "\n" * bool(there),
    ]
