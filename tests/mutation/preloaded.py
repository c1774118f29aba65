"""Imported once by the process that trials are forked from: all that the tests import but `lib`.

The names come in a file. As arguments of that process, which is how multiprocessing hands over what
to import, two thousand of them are longer than the system allows.
"""

import contextlib
import json
import os
import sys
from importlib import import_module
from pathlib import Path

LIST = "MUTATION_PRELOAD"


def imported() -> list[str]:
    """Import what is listed in the file that the environment names; return what came."""
    file = Path(os.environ.get(LIST, ""))  # another run's list may be gone
    names = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    for name in names:
        # Some can be imported only by their parents, or by pytest itself.
        with contextlib.suppress(Exception):
            import_module(name)
    return [name for name in names if name in sys.modules]


imported()
