"""`python3 -m assemble`: make the file system of the image."""

import argparse
import platform
import sys
from pathlib import Path

from assemble.base import MACHINES, Base
from assemble.distributions import add_distributions, installed
from assemble.errors import AssemblyError
from assemble.libraries import add_libraries
from assemble.packages import add_records, distribution, owners, packages
from assemble.runtime import add_runtime
from assemble.sbom import PLACE, sbom
from assemble.tree import settle, write


def main() -> int:
    """Write the file system into the output directory; return the exit code."""
    parser = argparse.ArgumentParser(prog="assemble", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="root of a file system with Debian's Python")
    parser.add_argument("--architecture", choices=MACHINES, help="of the base; default: this machine's")
    parser.add_argument("--requirements", type=Path, required=True, help="file with pinned requirements and hashes")
    parser.add_argument("--wheel", type=Path, required=True, help="the agent")
    parser.add_argument("--epoch", type=int, required=True, help="time of all files, in seconds since 1970")
    parser.add_argument("--output", type=Path, required=True)
    values = parser.parse_args()
    try:
        assemble(values)
    except AssemblyError as error:
        sys.stderr.write(f"assemble: {error}\n")
        return 1
    return 0


def assemble(values: argparse.Namespace) -> None:
    architecture = values.architecture or next(key for key, name in MACHINES.items() if name == platform.machine())
    base = Base(values.base, MACHINES[architecture])
    image = values.output
    taken = [*add_runtime(base, image)]
    add_distributions(base, values.requirements, values.wheel, image)
    taken += add_libraries(base, image)
    used = owners(taken, packages(base.root))
    add_records(base.root, used, image)
    parts = installed(image)
    listed = sbom(parts, used, release=distribution(base.root), architecture=architecture, epoch=values.epoch)
    write(image / PLACE, listed)
    settle(image, values.epoch)


if __name__ == "__main__":
    sys.exit(main())
