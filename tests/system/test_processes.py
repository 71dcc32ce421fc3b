"""Processes of a distributed training, of which there is one here; tests/models/test_many_processes.py has two."""

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


def test_the_loss_of_a_peer_is_explained(distributed):
    for _ in range(2):  # a decorated function can be called again
        with pytest.raises(
            ConnectionError,
            match=r'Process 0: another process of this training has ended or cannot be '
            r'reached.*\(Connection closed by peer \[10\.0\.0\.1\]:4711\)',
        ):
            exchange(LOST)


def test_other_errors_pass(distributed):
    with pytest.raises(RuntimeError, match='The size of tensor a'):
        exchange('The size of tensor a (3) must match the size of tensor b (4)')


def test_outside_a_distributed_training_there_is_no_peer():
    with pytest.raises(RuntimeError, match='by peer'):
        exchange(LOST)


def test_one_process_gathers_its_own_value(distributed):
    assert gather_from_all({'any': 'value'}) == [{'any': 'value'}]


def test_without_processes_the_value_is_gathered_alone():
    assert gather_from_all(3) == [3]
