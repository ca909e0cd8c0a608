"""Writes pip's settings on this machine so that pip in a container can use them: `pip_settings.py PIP.CONF CA.PEM`.

They are given to the build as secrets; the image never has them.
"""

import ast
import ssl
import subprocess
import sys
from pathlib import Path

KEYS = ("index-url", "extra-index-url", "no-index", "proxy", "retries", "timeout", "trusted-host")
"""What makes sense in a container: no paths of this machine."""

CERTIFICATES = "/run/secrets/ca.pem"
"""Where the Containerfile has pip's certificates."""


def main() -> None:
    """Write both files, the second one empty if this machine has no certificates."""
    configuration, certificates = map(Path, sys.argv[1:])
    found = settings(
        subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
        ).stdout
    )
    source = found.get("cert") or ssl.get_default_verify_paths().cafile
    certificates.write_bytes(Path(source).read_bytes() if source else b"")
    lines = [f"{key} = {value}" for key, value in found.items() if key in KEYS]
    if source:
        lines.append(f"cert = {CERTIFICATES}")
    configuration.write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")


def settings(listed: str) -> dict[str, str]:
    """Return the settings that `install` is under, from what `pip config list` prints; what comes later wins for pip.

    Example: `global.timeout='60'`, `install.timeout='90'` and `:env:.timeout='120'` give `{"timeout": "120"}`.
    """
    order = ("global", "install", ":env:")
    entries = [line.partition("=") for line in listed.splitlines()]
    named = [(*name.rpartition("."), value) for name, _, value in entries]
    ordered = sorted((each for each in named if each[0] in order), key=lambda each: order.index(each[0]))
    return {key: " ".join(str(ast.literal_eval(value)).split()) for _, _, key, value in ordered}


if __name__ == "__main__":
    main()
