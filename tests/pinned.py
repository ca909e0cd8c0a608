"""Programs of others that tests need, built from the modules that a folder pins."""

import functools
import subprocess
from pathlib import Path


@functools.cache
def built(folder: Path) -> Path:
    """Return the folder of the programs that the script `build.sh` of a folder builds, or finds in its cache."""
    answer = subprocess.run([folder / "build.sh"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(answer.stdout.strip())
