"""The command of the README that fetches packages, as the image's tests do anyway. Replaced are paths in /tmp."""

from pathlib import Path

import pytest
from documented import REPOSITORY, Block, Place, runs
from shell import ours


@pytest.mark.parametrize("block", runs(Place.IMAGE), ids=str)
def test_it_does_what_the_page_says(block: Block, tmp_path: Path) -> None:
    for command in block.of(Place.IMAGE):
        ended = ours(REPOSITORY, tmp_path).run(command.text.replace("/tmp/", f"{tmp_path}/"), within=600)
        assert ended.code == 0, f"{command.text}: {ended.output}"
        assert "registered and listed again" in ended.output
