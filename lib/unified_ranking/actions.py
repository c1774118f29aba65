"""Masked action modelling: what was done to an item, and how not to say it (arXiv 2606.00422).

The actions on an item are a multi-hot vector over C types. Beside the C columns stands one more,
the mask: 1 where the actions are not told. So three things stay apart that zeros would mix up:
*nothing was done* (all zeros), *we do not say* (mask), and *something was done* (ones).

Decided here, for the paper does not say it: whether an impression without action is a type of its
own is the user's choice of names (as a type "impression" it is a one, else all zeros).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lib.core import check
from lib.unified_ranking.tensors import tensor

__all__ = ["ActionVocab", "mask_actions", "with_mask"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ActionVocab:
    """Names of the action types, in the order of their columns.

    Parameters
    ----------
    names : sequence of str
        At least one, each once.

    Examples
    --------
    >>> vocab = ActionVocab(("save", "like", "hide"))
    >>> vocab.encode([["like", "save"], []]).tolist()
    [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(cast(object, self.names), str):
            raise ValueError(f"names is {self.names!r}, expected a sequence of names")
        names = tuple(check.text(f"names[{i}]", one) for i, one in enumerate(self.names))
        if not names:
            raise ValueError("names is empty, expected an action type or more")
        object.__setattr__(self, "names", check.unique("names", names))

    def __len__(self) -> int:
        return len(self.names)

    def columns(self, names: Iterable[str]) -> list[int]:
        """Return the columns of some names.

        Raises
        ------
        ValueError
            If a name is unknown; the closest one is named.
        """
        if isinstance(names, str):
            raise ValueError(f"names is {names!r}, expected a sequence of names")
        return [self.names.index(check.known("action", one, self.names)) for one in names]

    def encode(self, events: Sequence[Iterable[str]]) -> Floats:
        """Return multi-hot rows, float32 ``(n_events, C)``.

        Parameters
        ----------
        events : sequence of iterables of str
            The names of what was done, one iterable an event; an empty one is "no action".

        Raises
        ------
        ValueError
            If a name is unknown.
        """
        found = np.zeros((len(events), len(self)), np.float32)
        for row, names in enumerate(events):
            found[row, self.columns(names)] = 1
        return found

    def grade(self, values: npt.ArrayLike, bounds: Mapping[str, tuple[float, float]]) -> Floats:
        """Return multi-hot rows from a graded answer, such as stars.

        Parameters
        ----------
        values : array_like of float, shape (n_events,)
        bounds : mapping of str to (float, float)
            For each type the least and the largest value that count as it; every type once.

        Returns
        -------
        float32 (n_events, C)

        Examples
        --------
        >>> vocab = ActionVocab(("save", "hide"))
        >>> vocab.grade([5, 3, 1], {"save": (5, 5), "hide": (0, 2)}).tolist()
        [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
        """
        found = check.array("values", values, shape=("n_events",), empty=True)
        self.columns(bounds)
        missing = [one for one in self.names if one not in bounds]
        if missing:
            raise ValueError(f"bounds lack {missing[0]!r}, expected one of each of {self.names}")
        columns = []
        for name in self.names:
            least, most = check.array(f"bounds of {name}", bounds[name], shape=(2,))
            if least > most:
                raise ValueError(f"bounds of {name} are {bounds[name]}, expected least, largest")
            columns.append((found >= least) & (found <= most))
        return np.stack(columns, axis=1).astype(np.float32)


def with_mask(actions: Tensor, where: Tensor) -> Tensor:
    """Return what a model sees: the actions, and the mask class in their stead at some places.

    Parameters
    ----------
    actions : float Tensor, shape (batch, n, C)
        Zeros and ones.
    where : bool Tensor, shape (batch, n)
        True where the actions are not told.

    Returns
    -------
    Tensor, shape (batch, n, C + 1)
        ``(a, 0)`` where told, ``(0, …, 0, 1)`` where not: Equation 2's m_t · a_t and the class
        [MASK]. Nothing of a masked action is left in it, nor any gradient.

    Examples
    --------
    >>> with_mask(torch.ones(1, 2, 1), torch.tensor([[False, True]])).tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    tensor("actions", actions, ("batch", "n", "C"), at_least=0, at_most=1)
    tensor("where", where, tuple(actions.shape[:2]), "truth")
    hidden = where.unsqueeze(-1)
    # Not a product with 1 - m: zero times an action would keep a path for gradients.
    shown = torch.where(hidden, torch.zeros_like(actions), actions)
    return torch.cat([shown, hidden.to(actions.dtype)], dim=-1)


def mask_actions(
    actions: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mask each position's actions with the same probability, as in training.

    Parameters
    ----------
    actions : float Tensor, shape (batch, n, C)
    share : float
        p_mask, from 0 to 1 (Table 4 tries 0 to 0.3).
    generator : torch.Generator

    Returns
    -------
    (Tensor, Tensor)
        What a model sees, ``(batch, n, C + 1)``, and where it was masked, bool ``(batch, n)``.

    Examples
    --------
    >>> seen, where = mask_actions(torch.ones(1, 3, 1), 1.0, torch.Generator().manual_seed(0))
    >>> seen[..., -1].tolist(), where.tolist()
    ([[1.0, 1.0, 1.0]], [[True, True, True]])
    """
    tensor("actions", actions, ("batch", "n", "C"), at_least=0, at_most=1)
    share = check.share("share", share)
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"generator is {generator!r:.60}, expected a torch.Generator")
    # In double precision a draw is below 1 for certain, so a share of 1 masks everything.
    drawn = torch.rand(actions.shape[:2], generator=generator, dtype=torch.float64)
    where = (drawn < share).to(actions.device)
    return with_mask(actions, where), where
