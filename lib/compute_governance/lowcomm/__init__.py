"""Training with little communication, by real processes that send real bytes.

`train` runs a `Strategy` with workers of this machine, or is one of the workers under torchrun. The
modules below it: `wire` (exchanges and what they cost), `pool` (worker processes), `models`,
`strategies` and `training`.
"""

from lib.compute_governance.lowcomm.models import Inner, Transformer
from lib.compute_governance.lowcomm.pool import Pool, WorkerError
from lib.compute_governance.lowcomm.strategies import DataParallel, DiLoCo
from lib.compute_governance.lowcomm.training import CheckpointError, History, Settings, train

__all__ = [
    "CheckpointError",
    "DataParallel",
    "DiLoCo",
    "History",
    "Inner",
    "Pool",
    "Settings",
    "Transformer",
    "WorkerError",
    "train",
]
