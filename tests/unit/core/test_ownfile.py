"""Files of ours: whole or not at all."""

from pathlib import Path

import pytest

from intel_agent import ownfile


def test_what_cannot_be_written_is_said_in_the_same_words_each_time(tmp_path: Path) -> None:
    (path := tmp_path / "file").mkdir()
    for _ in range(2):
        with pytest.raises(IsADirectoryError) as raised:
            ownfile.replace(str(path), b"", 0o644)
        assert str(raised.value) == f"[Errno 21] Is a directory: '{path}'"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_not_there_is_said_of_the_file_not_of_its_draft(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "file"
    with pytest.raises(FileNotFoundError) as raised:
        ownfile.replace(str(path), b"", 0o644)
    assert raised.value.filename == str(path)
