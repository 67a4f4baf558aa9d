"""The training loop of the toy models against updates computed by hand."""

import pytest
import torch
from torch import Tensor, nn

from s2s.lab.fit import Recipe, fit, seeded


class Bowl(nn.Module):
    """loss = ½ Σ curvature · x²; its gradient is curvature · x."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([3.0, -4.0]))
        self.curvature = torch.tensor([1.0, 2.0])

    def loss(self) -> Tensor:
        return 0.5 * (self.curvature * self.x**2).sum()


def test_gradient_descent_and_its_losses() -> None:
    bowl = Bowl()
    losses = fit(bowl, bowl.loss, Recipe(updates=2, lr=0.1, optimizer="sgd", clip_norm=None))
    first, second = torch.tensor([3.0 * 0.9, -4.0 * 0.8]), torch.tensor([3.0 * 0.9**2, -4.0 * 0.8**2])
    torch.testing.assert_close(bowl.x.data, second)
    assert losses == pytest.approx([20.5, 0.5 * (first[0] ** 2 + 2 * first[1] ** 2).item()])


@pytest.mark.parametrize(
    ("norm", "value", "gradient"),
    [(None, None, [3.0, -8.0]), (1.0, None, [3 / 73**0.5, -8 / 73**0.5]), (None, 0.5, [0.5, -0.5])],
)
def test_clipping(norm: float | None, value: float | None, gradient: list[float]) -> None:
    bowl = Bowl()
    fit(bowl, bowl.loss, Recipe(updates=1, lr=0.1, optimizer="sgd", clip_norm=norm, clip_value=value))
    torch.testing.assert_close(bowl.x.data, torch.tensor([3.0, -4.0]) - 0.1 * torch.tensor(gradient))


def test_a_transform_replaces_clipping() -> None:
    bowl = Bowl()

    def sign(parameters: object) -> None:
        assert bowl.x.grad is not None
        bowl.x.grad.sign_()

    fit(bowl, bowl.loss, Recipe(updates=3, lr=0.1, optimizer="sgd"), transform=sign)
    torch.testing.assert_close(bowl.x.data, torch.tensor([2.7, -3.7]))


def test_adam_starts_with_steps_of_the_learning_rate() -> None:
    bowl = Bowl()
    fit(bowl, bowl.loss, Recipe(updates=1, lr=0.1))
    torch.testing.assert_close(bowl.x.data, torch.tensor([2.9, -3.9]))


def test_callback_gets_each_update_and_may_end_the_training() -> None:
    bowl, calls = Bowl(), list[tuple[int, float]]()

    def callback(update: int, loss: float) -> bool:
        calls.append((update, loss))
        return update == 3

    losses = fit(bowl, bowl.loss, Recipe(updates=9, lr=0.1), callback=callback)
    assert calls == [(n, loss) for n, loss in enumerate(losses, 1)]
    assert len(losses) == 3


def test_the_cosine_rises_and_falls() -> None:
    recipe = Recipe(updates=40, lr=0.5, schedule="cosine")
    rates = [recipe.rate(update) for update in range(1, 41)]
    assert rates[:2] == [0.25, 0.5]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert 0 < rates[-1] < 0.005


def test_seeded_repeats_and_leaves_no_trace() -> None:
    torch.manual_seed(5)
    without = torch.rand(2)
    torch.manual_seed(5)
    drawn = []
    for _ in range(2):
        with seeded(3):
            drawn.append(torch.rand(4))
    assert drawn[0].equal(drawn[1])
    assert torch.rand(2).equal(without)
