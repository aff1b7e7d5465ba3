"""The files that come with the project are found by name, and only they."""

from __future__ import annotations

import pytest

from cosim.errors import UsageError
from cosim.resources import firmware_file, key_file, platform_file


def test_the_board_file_is_found() -> None:
    assert platform_file("stm32mp157c-dk2.repl").is_file()


@pytest.mark.parametrize("name", ["", ".", "..", "none.repl", "../pyproject.toml", "/etc/passwd", "a\x00b"])
@pytest.mark.parametrize("find", [platform_file, firmware_file, key_file])
def test_a_name_that_is_not_one_of_the_files_is_refused(find: type, name: str) -> None:
    with pytest.raises(UsageError, match="comes with the project") as caught:
        find(name)

    assert caught.value.fields["file"] == name
    assert caught.value.hint


def test_the_refusal_lists_what_there_is() -> None:
    with pytest.raises(UsageError) as caught:
        platform_file("stm32mp157.rep")

    assert "stm32mp157.repl" in caught.value.hint
