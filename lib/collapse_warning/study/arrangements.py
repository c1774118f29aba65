"""Panels that the notebooks arrange: repaired replays at a landmark, simulated leaks and noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from lib.collapse_warning.contract import FPContract
from lib.collapse_warning.panel import Floats, Panel
from lib.collapse_warning.replay import Replay
from lib.collapse_warning.study.calibration import CONFIGURATIONS, alarm

__all__ = [
    "LEAKS",
    "NOISE",
    "accepted_configurations",
    "at_landmark",
    "planted_panel",
    "simulated",
]


def accepted_configurations(run: Replay, contract: FPContract | None = None) -> int:
    """Count the frozen configurations whose alarms on a replay's series keep the contract.

    Parameters
    ----------
    run : Replay
    contract : FPContract, optional
    """
    contract = contract or FPContract()
    controls = run.included().query("label == 'control'")["user"]
    # Most series are alike: each is judged once.
    copies = Counter(tuple(run.series(int(user)).tolist()) for user in controls)
    if not copies:
        return 0
    accepted = 0
    for family, params in CONFIGURATIONS:
        alarms = sum(n for one, n in copies.items() if alarm(family, params, one))
        accepted += contract.accepts(alarms, len(controls))
    return accepted


def at_landmark(run: Replay, step: int) -> Panel:
    """Return the first steps of all users who are still in play after them.

    Whoever does not collapse later is a control, also a user whose frontier will run empty: a
    system at the landmark cannot know that, and a control that is left out for its future would
    make its likes look rarer than they are. Left out are users whose collapse begins its streak at
    the landmark or before: their label is being counted already. That is known later only as well,
    and takes events away that have just missed, so it makes a warning look worse.

    Parameters
    ----------
    run : Replay
    step : int
        Steps that are seen.

    Returns
    -------
    Panel
        The number of misses so far, one series a user, all `step` long.
    """
    table = run.episodes[run.episodes["steps"] > step]
    chosen = table[~table["collapse"].between(1, step + run.config.streak - 1)]
    series = [np.cumsum(run.misses[int(user)][:step]) for user in chosen["user"]]
    return Panel.from_series(series, chosen["collapse"] > 0, chosen["user"].tolist())


def planted_panel(n_events: int, n_controls: int, n_times: int, signal: float, seed: int) -> Panel:
    """Return a simulated panel: white noise, and in events a rise over the last tenth.

    Parameters
    ----------
    n_events, n_controls, n_times : int
    signal : float
        Height of the rise, in standard deviations of the noise; 0 for none.
    seed : int
    """
    if min(n_events, n_controls) < 1 or n_times < 10:
        raise ValueError("expected at least one event, one control and ten times")
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_events + n_controls, n_times))
    values[:n_events, -(n_times // 10) :] += signal
    return Panel.from_series(list(values), np.arange(len(values)) < n_events)


def _white(rng: np.random.Generator, n_units: int) -> Floats:
    return rng.normal(size=(n_units, 40))


def _rebased(rng: np.random.Generator, n_units: int) -> Floats:
    walk = rng.normal(0, 0.01, size=(n_units, 40)).cumsum(axis=1)
    return np.asarray(100 * np.exp(walk - walk[:, :1]))


def _counts(rng: np.random.Generator, n_units: int) -> Floats:
    return np.cumsum(rng.poisson(0.1, size=(n_units, 40)), axis=1).astype(np.float64)


NOISE: dict[str, tuple[int, int, Callable[[np.random.Generator, int], Floats]]] = {
    "2 events against 3": (2, 3, _white),
    "30 against 60": (30, 60, _white),
    "walks rebased to 100": (20, 40, _rebased),
    "cumulative counts": (20, 40, _counts),
}
"""Series without any tie to the label: events, controls, and what draws their values."""

LEAKS = ("last value, one flipped", "12 steps before the end", "ends alike up to 1e-9", "length")
"""Labels written into noise, each in another way."""


def simulated(kind: str, seed: int) -> Panel:
    """Return one simulated panel of `NOISE` or of `LEAKS`.

    Parameters
    ----------
    kind : str
    seed : int
    """
    rng = np.random.default_rng(seed)
    if kind in NOISE:
        n_events, n_controls, draw = NOISE[kind]
        values = draw(rng, n_events + n_controls)
        return Panel.from_series(list(values), np.arange(len(values)) < n_events)
    if kind not in LEAKS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join((*NOISE, *LEAKS))}")
    labels = np.arange(90) < 30
    values = rng.normal(size=(90, 40))
    label = labels + 1e-3 * rng.normal(size=90)
    if kind == LEAKS[0]:
        label[0] -= 1
        values[:, -1] = label
    elif kind == LEAKS[1]:
        values[:, -13] = label
    elif kind == LEAKS[2]:
        values[labels, -8:] = np.arange(8) + 1e-9 * rng.normal(size=(30, 8))
    else:
        return Panel.from_series(
            [row[: 30 if e else 40] for row, e in zip(values, labels, strict=True)], labels
        )
    return Panel.from_series(list(values), labels)
