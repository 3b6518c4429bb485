"""The pages run as tests, each in an empty folder, since some of them write pictures."""

import pytest


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """The working folder of a page."""
    monkeypatch.chdir(tmp_path)
