"""A short, fixed piece of the run that ``python -m tests.fuzz`` makes as long as it is given time."""

import random

import pytest

from tests.fuzz import DAMAGES, fault_of, subjects

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return subjects(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_files_are_read_or_refused_by_every_reader(damage, saved):
    choice = random.Random(damage.__name__)
    for subject in saved:
        assert fault_of(subject, subject.data) == ""
        for _ in range(20):
            assert fault_of(subject, damage(subject.data, choice)) == ""
        subject.damaged.write_bytes(subject.data)
