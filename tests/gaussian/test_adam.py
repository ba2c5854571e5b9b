"""Adam in numpy against PyTorch's."""

import numpy as np
import torch

from gaussian.adam import Adam


def test_steps_equal_those_of_pytorch_and_each_parameter_counts_its_own() -> None:
    random = np.random.default_rng(0)
    adam, values = Adam(2, 3), np.zeros((2, 3))
    theirs = [torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    optimizers = [torch.optim.Adam([leaf], lr=0.01, betas=(0.9, 0.99), eps=1e-15) for leaf in theirs]
    for index in (0, 0, 1, 0, 1, 0):
        gradient = random.normal(size=3)
        values[index] -= 0.01 * adam.step(index, gradient)
        theirs[index].grad = torch.from_numpy(gradient)
        optimizers[index].step()
    np.testing.assert_allclose(values, [leaf.detach().numpy() for leaf in theirs], rtol=1e-9)


def test_a_restored_state_continues_with_the_same_steps() -> None:
    random = np.random.default_rng(1)
    adam, restored = Adam(3, 2, 2), Adam(3, 2, 2)
    for index in (0, 2, 2):
        adam.step(index, random.normal(size=(2, 2)))
    restored.restore(adam.state())
    for index in (0, 1, 2):
        gradient = random.normal(size=(2, 2))
        np.testing.assert_array_equal(adam.step(index, gradient), restored.step(index, gradient))
