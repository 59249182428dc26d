"""Other processes, for what must not depend on the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def from_new_process(module: str, data: Any, hash_seed: int) -> Any:
    """What a module that runs as a script prints last, as JSON, for ``data`` as its input, under a seed of hashes."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module],
        input=json.dumps(data),
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(process.stdout.splitlines()[-1])
