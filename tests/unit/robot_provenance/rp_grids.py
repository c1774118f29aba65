"""Maps of the embedded campaign as a runner wants them."""

from __future__ import annotations

from collections.abc import Mapping

from lib.robot_provenance.maps import Grid


def by_digest(grids: Mapping[str, Grid]) -> dict[str, Grid]:
    return {one.digest: one for one in grids.values()}
