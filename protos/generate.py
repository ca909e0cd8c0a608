"""Makes intel_agent/_proto from the .proto files here, from packages only; with --check says whether it is current."""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
TARGET = PROTOS.parent / "intel_agent" / "_proto"


def generate(target: Path) -> None:
    options = [
        f"--python_betterproto2_out={target}",
        "--python_betterproto2_opt=server_generation=async",
        "--python_betterproto2_opt=client_generation=async",
    ]
    files = sorted(str(each) for each in PROTOS.glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *options, *files]
    subprocess.run(command, check=True, cwd=PROTOS.parent)  # noqa: S603 - the compiler formats by our pyproject.toml


def different(left: Path, right: Path) -> list[str]:
    names = {
        str(each.relative_to(base))
        for base in (left, right)
        for each in base.rglob("*")
        if each.suffix in {".py", ".typed"}
    }
    _, unequal, absent = filecmp.cmpfiles(left, right, sorted(names), shallow=False)
    return unequal + absent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the committed code differs")
    parser.add_argument("--write", action="store_true", help="replace the committed code")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "_proto"
        made.mkdir()
        generate(made)
        if arguments.write:
            shutil.rmtree(TARGET, ignore_errors=True)
            shutil.copytree(made, TARGET)
            return 0
        for name in (differences := different(made, TARGET)):
            print(f"{TARGET / name} is not what protos/ says: run `tox -e proto -- --write`", file=sys.stderr)  # noqa: T201
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
