"""Muon: updates of convolutions and matrices that turn and stretch no direction more than another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from toolkit.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from toolkit.contracts import OPTIMIZERS, OptimizerRule

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that brings singular values of 0..1 near 1 in few steps (Jordan 2024)."""
_EPS = 1e-7


@OPTIMIZERS.register("muon")
class Muon(OptimizerRule):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum whose matrix has its singular values set near 1.

    For nets that start from random numbers and are trained for little: they learn from about half as many images as with
    AdamW, for a cost a step that does not depend on the batch. A kernel (out, in, h, w) is a matrix of `out` rows; vectors
    (biases, norms) are updated by AdamW with betas 0.9 and 0.98.

    Args:
        lr: base learning rate of matrices, above 0, which the schedule multiplies at every step; 0.02 to 0.1.
        weight_decay: part of a weight that is taken off a step, times lr, 0 or more.
        momentum: part of the mean gradient that is kept at each step, 0..1; the gradient is taken ahead of it (Nesterov).
        vector_factor: learning rate of vectors as a factor of lr.
        iterations: rounds of the polynomial; more bring singular values nearer to one another.
    """

    def __init__(
        self,
        lr: PositiveFloat = 0.05,
        weight_decay: NonNegativeFloat = 0.01,
        momentum: Probability = 0.95,
        vector_factor: PositiveFloat = 0.06,
        iterations: PositiveInt = 5,
    ) -> None:
        self.lr, self.weight_decay, self.momentum = lr, weight_decay, momentum
        self.vector_factor, self.iterations = vector_factor, iterations

    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """An optimizer over parameter groups, each a dict with "params" and its own options."""
        options = {
            name: getattr(self, name) for name in ("lr", "weight_decay", "momentum", "vector_factor", "iterations")
        }
        return _Muon(list(groups), options)


class _Muon(torch.optim.Optimizer):
    """State: matrices have a "momentum_buffer", vectors "step", "exp_avg" and "exp_avg_sq" as AdamW has."""

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        left_out = getattr(self, "found_inf", None)  # set where a gradient may not be finite (fp16, a GPU's late norm)
        if left_out is not None and bool(left_out):
            return loss
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.ndim > 1:
                    self._matrix(parameter, parameter.grad, group)
                else:
                    self._vector(parameter, parameter.grad, group)
        return loss

    def _matrix(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = orthogonalised(gradient.lerp(mean, group["momentum"]).flatten(1), group["iterations"])
        taller = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * taller)

    def _vector(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, rate = self.state[parameter], group["lr"] * group["vector_factor"]
        if "step" not in state:
            zero = torch.zeros_like(parameter)
            state.update(step=torch.zeros((), dtype=torch.float32), exp_avg=zero, exp_avg_sq=zero.clone())
        state["step"] += 1
        count = float(state["step"])
        mean = state["exp_avg"].lerp_(gradient, 0.1)
        square = state["exp_avg_sq"].lerp_(gradient * gradient, 0.02)
        parameter.mul_(1 - rate * group["weight_decay"])
        spread = (square / (1 - 0.98**count)).sqrt_().add_(1e-8)
        parameter.addcdiv_(mean, spread, value=-rate / (1 - 0.9**count))


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The matrix U S V^T with its singular values S brought near 1, by Newton-Schulz steps; float32.

    A step multiplies by a polynomial of the Gram matrix, x <- P(x x^T) x. The polynomials of all steps commute, so that they are
    multiplied first, as square matrices of the shorter side, and meet the matrix once: a third of the work for kernels of 3x3.

    Args:
        matrix: (rows, columns) float, of any scale.
        iterations: steps; after 5, singular values lie in 0.7 to 1.2.
    """
    first, third, fifth = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = x / (x.norm() + _EPS)
    gram = x @ x.T
    factor = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for step in range(iterations):
        polynomial = torch.addmm(gram, gram, gram, beta=third, alpha=fifth)
        polynomial.diagonal().add_(first)
        factor = polynomial @ factor if step else polynomial
        if step < iterations - 1:
            gram = polynomial @ gram @ polynomial
    x = factor @ x
    return (x.T if tall else x).contiguous()
