"""The coordinate network on instances."""

import torch

from pinnx.networks import EncodedMlp


def test_it_is_one_perceptron_of_coordinates_and_code():
    generator = torch.Generator().manual_seed(81173)
    spec = EncodedMlp(width=7, depth=2, code=3, cells=2)
    network = spec.build_on_grid(1, 4, (False, False), generator=generator, dtype=torch.float64)
    known = torch.randn(2, 1, 6, 4, generator=generator, dtype=torch.float64)
    coordinates = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    fields = network(known, coordinates)
    quarters = known[1, 0].reshape(2, 3, 2, 2).mean((1, 3)).flatten()
    code = torch.tanh(network.encoder.weight @ quarters + network.encoder.bias)
    point = torch.cat([coordinates[:, 4, 1], code])
    torch.testing.assert_close(fields[1, :, 4, 1], network.body(point[None])[0], rtol=1e-12, atol=1e-14)


def test_a_finer_grid_has_the_same_values_where_the_means_agree():
    generator = torch.Generator().manual_seed(40427)
    network = EncodedMlp(cells=2).build_on_grid(1, 3, (False,), generator=generator, dtype=torch.float64)
    coarse = torch.randn(2, 1, 4, generator=generator, dtype=torch.float64)
    at = torch.linspace(-1, 1, 4, dtype=torch.float64)[None]
    fine = coarse.repeat_interleave(2, -1)
    torch.testing.assert_close(network(fine, at), network(coarse, at), rtol=1e-12, atol=1e-14)
