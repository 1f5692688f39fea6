"""Maps cut into blocks, against loops over cells."""

import pytest
import torch

from videogcrf_det.gcrf.blocks import from_blocks, to_blocks

SHAPES = [(2, 3, 4, 6, 8), (1, 1, 1, 1, 1), (2, 1, 3, 5, 7), (1, 2, 2, 3, 10)]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_cell_is_where_a_loop_puts_it(shape, size):
    clips, frames, dim, height, width = shape
    maps = torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)
    rows, columns = -(-height // size), -(-width // size)
    expected = torch.zeros(clips * rows * columns, frames, dim, size * size)
    for clip in range(clips):
        for y in range(height):
            for x in range(width):
                block = (clip * rows + y // size) * columns + x // size
                cell = y % size * size + x % size
                expected[block, :, :, cell] = maps[clip, :, :, y, x]
    blocks = to_blocks(maps, size)
    assert torch.equal(blocks, expected)
    assert torch.equal(from_blocks(blocks, size, maps.shape[3:]), maps)


def test_non_contiguous_maps_and_gradients():
    maps = torch.randn(1, 2, 5, 4, 3, dtype=torch.double).transpose(3, 4).requires_grad_()
    assert not maps.is_contiguous()
    assert torch.autograd.gradcheck(lambda m: to_blocks(m, 2), maps)
    assert torch.autograd.gradcheck(
        lambda m: from_blocks(to_blocks(m, 2).sin(), 2, m.shape[3:]), maps
    )
