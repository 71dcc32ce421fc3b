"""Fixtures and helpers of several test files."""

import copy
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
import torch
import torchvision
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.utils import get_root_logger
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from skimage import data
from small_training import OPTIONS
from torch.nn.utils.parametrize import is_parametrized

from hifacegan_plugin.archs import CSRGenerator
from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.models.stop_signal import signals_left_alone

REPOSITORY = Path(__file__).resolve().parents[1]
HANGS = 900  # timeout in seconds, much longer than anything takes on a slow machine

# On first use, the host sets propagate to False, which would hide messages from pytest's caplog.
get_root_logger().propagate = True


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option to rehearse tests marked cuda on the CPU."""
    parser.addoption('--device', default='cuda', choices=('cuda', 'cpu'), help='device of tests marked cuda')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests marked cuda without a GPU."""
    if config.getoption('--device') == 'cuda' and not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('cuda'):
                item.add_marker(pytest.mark.skip(reason='there is no CUDA device (--device cpu rehearses this test)'))


@pytest.fixture(scope='session')
def device(pytestconfig) -> torch.device:
    """The device of tests marked cuda."""
    return torch.device(pytestconfig.getoption('--device'))


@contextmanager
def without_tf32() -> Iterator[None]:
    """Disable TF32, so that a GPU computes float32 with its full precision."""
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags


@pytest.fixture(autouse=True)
def stoppable() -> Iterator[None]:
    """Restore signal handlers, such as that of Ctrl-C, which models replace when they are built for training."""
    with signals_left_alone():
        yield


@pytest.fixture(scope='session')
def reference_dir() -> Path:
    """Outputs of the reference implementation, in a folder next to the repository."""
    folder = REPOSITORY.parent / 'shared/reference'
    if not folder.is_dir():
        pytest.skip(f'{folder} does not exist')
    return folder


@pytest.fixture
def lively_generator() -> Callable[..., CSRNetwork]:
    """A function that makes a small generator with weights for which all parts affect the output.

    With the paper's initial weights, the output is about 1e-6, so comparisons would always pass.
    """

    def make(num_feat: int = 4, seed: int = 0, **options) -> CSRNetwork:
        torch.manual_seed(seed)
        network = CSRGenerator(num_feat=num_feat, **options)
        for parameter in network.parameters():
            if parameter.ndim == 4:
                torch.nn.init.xavier_normal_(parameter)
            else:
                torch.nn.init.normal_(parameter, std=0.1)
        for _ in range(30):  # power iterations, until the spectral norm fits the new weights
            for conv in network.modules():
                if is_parametrized(conv):
                    _ = conv.weight
        return network

    return make


@pytest.fixture(scope='session')
def inception_state() -> dict[str, torch.Tensor]:
    """Random weights for the Inception network of the FID, scaled so that features are about 1."""
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter)
    return network.state_dict()


@pytest.fixture
def enlarger(tmp_path: Path) -> tuple[RRDBNet, Path]:
    """A network that enlarges images by a factor of 2, and its file."""
    torch.manual_seed(0)
    network = RRDBNet(3, 3, scale=2, num_feat=8, num_block=1, num_grow_ch=32).eval()
    for parameter in network.parameters():
        parameter.data *= 3  # otherwise, the output would be nearly constant
    torch.save({'params_ema': network.state_dict()}, tmp_path / 'x2.pth')
    return network, tmp_path / 'x2.pth'


@pytest.fixture(scope='session')
def small_lmdb(tmp_path_factory) -> Path:
    """A database of six colour images of 96 x 80 pixels, in the host's format."""
    folder = tmp_path_factory.mktemp('data')
    images = folder / 'images'
    images.mkdir()
    astronaut = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    keys = [f'{i:05d}' for i in range(6)]
    for i, key in enumerate(keys):
        cv2.imwrite(str(images / f'{key}.png'), astronaut[60 * i : 60 * i + 96, 200:280])
    database = folder / 'small.lmdb'
    make_lmdb_from_imgs(str(images), str(database), [f'{key}.png' for key in keys], keys)
    return database


@pytest.fixture
def options(tmp_path) -> dict:
    """Options that tests may change, with temporary folders for checkpoints."""
    opt = copy.deepcopy(OPTIONS)
    for name in ('models', 'training_states'):
        (tmp_path / name).mkdir()
        opt['path'][name] = str(tmp_path / name)
    return opt


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """A function that limits the size of files to 1000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
