"""Two optimisers that PyTorch's own are too slow or too coarse for: `RowAdam` and `Muon`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Muon", "RowAdam"]


class RowAdam(torch.optim.Optimizer):
    """Adam for embedding tables of which a step touches a few rows (Kingma and Ba, 1412.6980).

    The same numbers as ``torch.optim.SparseAdam``: moments of rows that were not looked up stay as
    they are, and no weight decay. Both moments of a row stand side by side in one tensor, so a step
    visits memory once for them, and rows that were looked up often are summed without a sort of
    their gradients; that is what makes it several times faster.

    Parameters
    ----------
    tables : sequence of nn.Parameter
        Weights ``(n_rows, width)`` of ``nn.Embedding(sparse=True)``.
    lr : float
    betas : (float, float)
    eps : float
    """

    def __init__(
        self,
        tables: Sequence[nn.Parameter],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not (lr > 0 and eps > 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(
                f"lr is {lr}, betas {betas}, eps {eps}, expected lr, eps > 0, betas in [0, 1)"
            )
        super().__init__(list(tables), {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change the rows that have a gradient.

        Raises
        ------
        ValueError
            If a gradient is dense.
        """
        for group in self.param_groups:
            first, second = group["betas"]
            for table in group["params"]:
                grad = table.grad
                if grad is None:
                    continue
                if not grad.is_sparse:
                    raise ValueError("a gradient is dense, expected nn.Embedding(sparse=True)")
                state = self.state[table]
                if not state:
                    state["steps"] = 0
                    state["moments"] = table.new_zeros(len(table), 2 * table.shape[1])
                    state["mark"] = torch.empty(len(table), dtype=torch.int64, device=table.device)
                state["steps"] += 1
                width = table.shape[1]
                rows, total = self._summed(grad, state)
                moments = state["moments"].index_select(0, rows)
                mean, square = moments[:, :width], moments[:, width:]
                mean.lerp_(total, 1 - first)
                square.mul_(second).addcmul_(total, total, value=1 - second)
                state["moments"].index_copy_(0, rows, moments)
                # What Adam divides the moments by, since they start at zero, as one factor.
                rate = group["lr"] * (1 - second ** state["steps"]) ** 0.5
                rate /= 1 - first ** state["steps"]
                change = mean / square.sqrt().add_(group["eps"])
                fresh = table.index_select(0, rows).add_(change, alpha=-rate)
                table.index_copy_(0, rows, fresh)

    @staticmethod
    def _summed(grad: Tensor, state: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the rows that were looked up, each once, and the sums of their gradients.

        Every look-up leaves its number at its row; whose number stands there in the end speaks for
        all look-ups of that row. That takes no sort.
        """
        looked, values = grad._indices()[0], grad._values()
        number = torch.arange(len(looked), device=looked.device)
        mark = state["mark"]
        mark[looked] = number
        speaker = mark[looked]
        speaks = speaker == number
        place = (speaks.cumsum(0) - 1)[speaker]
        rows = looked[speaks]
        return rows, values.new_zeros(len(rows), values.shape[1]).index_add_(0, place, values)


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal, for matrices (K. Jordan, 2024).

    Small models learn what is rare in fewer steps with it, and most of a code tree is rare. The
    same as ``torch.optim.Muon``, which does its products in bfloat16; those are slow on processors
    without such a unit and differ between processors, so single precision here.

    Parameters
    ----------
    matrices : sequence of nn.Parameter
        Two-dimensional.
    lr : float
    weight_decay, momentum : float
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        lr: float,
        *,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ) -> None:
        for one in matrices:
            if one.ndim != 2:
                raise ValueError(f"a parameter has shape {tuple(one.shape)}, expected a matrix")
        super().__init__(
            list(matrices), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change every matrix that has a gradient."""
        for group in self.param_groups:
            matrices = [one for one in group["params"] if one.grad is not None]
            ahead = []
            for matrix in matrices:
                state = self.state[matrix]
                if not state:
                    state["mean"] = torch.zeros_like(matrix)
                mean = state["mean"].lerp_(matrix.grad, 1 - group["momentum"])
                ahead.append(matrix.grad.lerp(mean, group["momentum"]))  # Nesterov's look ahead
            for matrix, change in zip(matrices, _orthogonal(ahead), strict=True):
                rows, columns = matrix.shape
                scale = max(1.0, rows / columns) ** 0.5
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(change, alpha=-group["lr"] * scale)


def _orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Move all singular values of matrices near 1: five Newton-Schulz steps of fifth order.

    A step multiplies X by a polynomial p(XXᵀ), and XXᵀ becomes p·XXᵀ·p. So the polynomials are
    multiplied up among the small square matrices, those of one size together, and X is read twice
    instead of ten times. The coefficients are Jordan's: steepest at zero, values end between 0.7
    and 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = [(one.T if one.shape[0] > one.shape[1] else one) for one in matrices]
    wide = [one / one.norm().clamp(min=1e-7) for one in wide]
    alike: dict[int, list[int]] = defaultdict(list)
    for number, one in enumerate(wide):
        alike[len(one)].append(number)
    found = list(matrices)
    for size, numbers in alike.items():
        gram = torch.stack([wide[n] @ wide[n].T for n in numbers])
        product = torch.eye(size, dtype=gram.dtype, device=gram.device).expand_as(gram)
        for _ in range(5):
            factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
            factor.diagonal(dim1=1, dim2=2).add_(a)
            product = factor @ product
            gram = factor @ gram @ factor
        for n, one in zip(numbers, product, strict=True):
            change = one @ wide[n]
            found[n] = change.T if matrices[n].shape[0] > matrices[n].shape[1] else change
    return found
