"""Tests of communication in a distributed training with one process; tests/models/test_many_processes.py uses two."""

from collections.abc import Iterator

import pytest
import torch.distributed as dist

from hifacegan_plugin.system.processes import explain_lost_peer, gather_from_all

LOST = 'Connection closed by peer [10.0.0.1]:4711. This may indicate a remote failure.'


@pytest.fixture
def distributed() -> Iterator[None]:
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@explain_lost_peer()
def exchange(error: str) -> None:
    raise RuntimeError(error)


def test_the_loss_of_another_process_is_explained(distributed):
    for _ in range(2):  # decorated functions can be called repeatedly
        with pytest.raises(
            ConnectionError,
            match=r'Process 0: another process of this training has ended or cannot be '
            r'reached.*\(Connection closed by peer \[10\.0\.0\.1\]:4711\)',
        ):
            exchange(LOST)


def test_other_errors_are_not_changed(distributed):
    with pytest.raises(RuntimeError, match='The size of tensor a'):
        exchange('The size of tensor a (3) must match the size of tensor b (4)')


def test_errors_outside_a_distributed_training_are_not_changed():
    with pytest.raises(RuntimeError, match='by peer'):
        exchange(LOST)


def test_gathering_with_one_process(distributed):
    assert gather_from_all({'any': 'value'}) == [{'any': 'value'}]


def test_gathering_outside_a_distributed_training():
    assert gather_from_all(3) == [3]
