"""Products in tiles: what a row gives does not depend on its company, by construction."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.model.linear import Dense, dense, in_tiles


@given(count=st.integers(1, 700), tiles=st.sampled_from([(16,), (64,), (64, 16), (128, 32)]))
def test_tiles_are_of_the_sizes_that_are_named_and_hold_the_rows_in_order(count, tiles):
    rows = torch.arange(1.0, count + 1)[:, None]
    parts = in_tiles(rows, tiles)
    assert {len(part) for part in parts} <= set(tiles)
    together = torch.cat(parts)
    assert torch.equal(together[:count], rows) and not together[count:].any()
    assert len(together) - count < tiles[0]  # no tile is empty


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(512, 128), (128, 512), (97, 64)])
@pytest.mark.parametrize("tile", [16, 128])
def test_every_product_has_the_shape_of_a_tile(monkeypatch, dtype, shape, tile):
    seen = set()
    real = Dense._product

    def product(self, rows):
        seen.add(len(rows))
        return real(self, rows)

    monkeypatch.setattr(Dense, "_product", product)
    weight, bias = torch.randn(shape).to(dtype), torch.randn(shape[0]).to(dtype)
    layer = dense(weight, bias, tile, {})
    rows = torch.randn(300, shape[1]).to(dtype)
    seen.clear()
    whole = layer(rows)
    assert seen <= set(layer.tiles)
    expected = torch.nn.functional.linear(rows.double(), weight.double(), bias.double())
    torch.testing.assert_close(whole.double(), expected, rtol=0.02, atol=0.2)
    one = rows[: layer.tiles[0]]
    # On this machine; where it is not so, calibrate.is_bitwise_stable says it of the model.
    anywhere = torch.equal(layer(one.flip(0)), layer(one).flip(0))
    for count in (1, 2, 5, 17, 63, 64, 65, 150):
        assert torch.equal(layer(rows[:count]), whole[:count])
        assert torch.equal(layer(rows[-count:]), whole[-count:]) or not anywhere


def test_a_smaller_tile_is_used_only_where_it_gives_the_same_bits(monkeypatch):
    weight = torch.randn(64, 64)
    assert dense(weight, None, 64, {}).tiles in ((64,), (64, 16))
    real = Dense._product
    monkeypatch.setattr(
        Dense, "_product", lambda self, rows: real(self, rows) + 1e-6 * (len(rows) == 16)
    )
    assert dense(weight, None, 64, {}).tiles == (64,)
    assert dense(weight, None, 64, {(64, 64, torch.float32, 64): True}).tiles == (64, 16)


def test_on_other_devices_all_rows_are_one_product():
    layer = dense(torch.empty(8, 4, device="meta"), None, 16, {})
    assert layer.tiles == () and layer(torch.empty(300, 4, device="meta")).shape == (300, 8)
