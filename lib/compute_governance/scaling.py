"""Scaling laws: loss, allocation, and how a loss translates into compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lib.core import check

__all__ = ["CI95", "FIT", "REFERENCE_RATIO", "STANDARD_ERRORS", "Chinchilla", "Floats"]

Floats = npt.NDArray[np.float64]

REFERENCE_RATIO = 25.6
"""Tokens a parameter of the allocation that the paper calls optimal (arXiv 2404.10102)."""

CI95 = 1.959963984540054
"""Standard errors on each side of a 95 % interval."""


@dataclass(frozen=True)
class Chinchilla:
    r"""The law L(N, D) = E + A·N^−α + B·D^−β, in nats a token.

    Parameters
    ----------
    E, A, alpha, B, beta : float or array
        All positive. Arrays broadcast against what the methods are given, which is how samples of
        the fit are evaluated together.

    Raises
    ------
    ValueError
        If a parameter is not finite and positive, naming it.

    Notes
    -----
    Along the reference allocation D = rN the improvable loss is, with x = ln C,

    .. math:: L - E = a e^{-\alpha x/2} + b e^{-\beta x/2},

    so ln(L − E) is a convex, strictly falling function of x, and Newton's method finds the compute
    that a loss corresponds to from any start.

    Examples
    --------
    >>> round(float(FIT.loss(70e9, 1.4e12)), 3)
    1.974
    """

    E: Any
    A: Any
    alpha: Any
    B: Any
    beta: Any

    def __post_init__(self) -> None:
        for key in ("E", "A", "alpha", "B", "beta"):
            check.array(key, getattr(self, key), above=0)

    def loss(self, params: Any, tokens: Any) -> Floats:
        """Return the loss in nats for numbers of parameters and tokens, all positive."""
        params = check.array("params", params, above=0)
        tokens = check.array("tokens", tokens, above=0)
        value: Floats = np.asarray(
            self.E + self.A * params ** (-self.alpha) + self.B * tokens ** (-self.beta)
        )
        return value

    def allocate(
        self,
        flop: Any,
        rule: Literal["ratio", "exact"] = "ratio",
        ratio: float = REFERENCE_RATIO,
    ) -> tuple[Floats, Floats]:
        """Split a budget C = 6·N·D into parameters and tokens.

        Parameters
        ----------
        flop : float or array
            Budget, FLOP, positive.
        rule : {"ratio", "exact"}
            A fixed number of tokens a parameter, or the minimum of this loss.
        ratio : float
            Tokens a parameter of the rule "ratio".

        Returns
        -------
        params, tokens : ndarray
        """
        flop = check.array("flop", flop, above=0)
        check.known("rule", rule, ("ratio", "exact"))
        if rule == "ratio":
            params = np.sqrt(flop / (6.0 * check.number("ratio", ratio, above=0)))
        else:
            lead = (self.alpha * self.A / (self.beta * self.B)) ** (1.0 / (self.alpha + self.beta))
            params = lead * (flop / 6.0) ** (self.beta / (self.alpha + self.beta))
        return np.asarray(params), np.asarray(flop / (6.0 * params))

    def effective_compute(self, loss: Any, ratio: float = REFERENCE_RATIO) -> Floats:
        """Return the FLOP that reach a loss along the reference allocation.

        Parameters
        ----------
        loss : float or array
            Nats; above the floor E.
        ratio : float
            Tokens a parameter of the allocation.

        Raises
        ------
        ValueError
            If a loss is not above E.

        Examples
        --------
        >>> params, tokens = FIT.allocate(1e24)
        >>> f"{float(FIT.effective_compute(FIT.loss(params, tokens))):.6g}"
        '1e+24'
        """
        loss = check.array("loss", loss)
        check.number("ratio", ratio, above=0)
        if not (loss > np.asarray(self.E)).all():
            low = float(np.min(loss))
            raise ValueError(f"loss is {low} at least, expected above the floor E, {self.E!r:.40}")
        p, q = np.asarray(self.alpha) / 2.0, np.asarray(self.beta) / 2.0
        # L − E = exp(u) + exp(v) with u = ln a − p·x, v = ln b − q·x.
        log_a = np.log(self.A) + p * np.log(6.0 * ratio)
        log_b = np.log(self.B) + q * np.log(6.0 / ratio)
        goal = np.log(loss - self.E)
        x = np.asarray((np.logaddexp(log_a - 55 * p, log_b - 55 * q) - goal) / (0.5 * (p + q)) + 55)
        for _ in range(40):
            first, second = np.exp(log_a - p * x), np.exp(log_b - q * x)
            total = first + second
            step = (np.log(total) - goal) * total / (p * first + q * second)
            x = x + step
            # Newton's error is squared: after a step below 1e-7 nothing is left of it.
            if np.max(np.abs(step), initial=0.0) < 1e-7 * np.max(np.abs(x), initial=1.0):
                break
        compute: Floats = np.exp(x)
        return compute

    def take(self, index: Any) -> Chinchilla:
        """Return some of the draws, by index; a single law comes back as it is."""
        keys = ("E", "A", "alpha", "B", "beta")
        picked = {key: getattr(self, key) for key in keys}
        return Chinchilla(
            **{key: one[index] if np.ndim(one) else one for key, one in picked.items()}
        )


FIT = Chinchilla(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658)
"""The corrected fit of arXiv 2404.10102, as the paper uses it."""

STANDARD_ERRORS = {"E": 0.03, "A": 124.58, "alpha": 0.02, "B": 1293.23, "beta": 0.02}
"""Its standard errors, as the paper quotes them."""
