"""What several test files share."""

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
from hifacegan_plugin.models.stop_signal import signals_left_alone

REPOSITORY = Path(__file__).resolve().parents[1]
HANGS = 900  # seconds, far beyond what the slowest machine takes: whatever is waited for will not come

# The host cuts its logger off from the root logger when it is first used, and pytest's caplog with it.
get_root_logger().propagate = True


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests marked cuda be rehearsed on the CPU."""
    parser.addoption('--device', default='cuda', choices=('cuda', 'cpu'), help='what tests marked cuda run on')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests marked cuda where there is no card."""
    if config.getoption('--device') == 'cuda' and not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('cuda'):
                item.add_marker(pytest.mark.skip(reason='there is no CUDA device (--device cpu rehearses this test)'))


@pytest.fixture(scope='session')
def device(pytestconfig) -> torch.device:
    """Return what tests marked cuda run on."""
    return torch.device(pytestconfig.getoption('--device'))


@contextmanager
def without_tf32() -> Iterator[None]:
    """Let a card compute float32 with all its 23 bits."""
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags


@pytest.fixture(autouse=True)
def stoppable() -> Iterator[None]:
    """A model that is built for training takes the signals, Ctrl-C among them: give them back to pytest."""
    with signals_left_alone():
        yield


@pytest.fixture(scope='session')
def reference_dir() -> Path:
    """Numbers of the reference implementation, which live beside the repository where they are at hand."""
    folder = REPOSITORY.parent / 'shared/reference'
    if not folder.is_dir():
        pytest.skip(f'the reference numbers are not at hand ({folder.name}/ beside the repository)')
    return folder


@pytest.fixture
def lively_generator() -> Callable[..., CSRGenerator]:
    """A small generator with weights at which every part of it matters to the output.

    The initial weights of the paper are so small that the output is 1e-6: whatever one compares, it agrees.
    """

    def make(num_feat: int = 4, seed: int = 0, **options) -> CSRGenerator:
        torch.manual_seed(seed)
        network = CSRGenerator(num_feat=num_feat, **options)
        for parameter in network.parameters():
            if parameter.ndim == 4:
                torch.nn.init.xavier_normal_(parameter)
            else:
                torch.nn.init.normal_(parameter, std=0.1)
        for _ in range(30):  # let the power iteration of spectral norm settle on the new weights
            for conv in network.modules():
                if is_parametrized(conv):
                    _ = conv.weight
        return network

    return make


@pytest.fixture(scope='session')
def inception_state() -> dict[str, torch.Tensor]:
    """Random weights under the names of the FID's Inception, which are torchvision's, with features of about 1."""
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter)
    return network.state_dict()


@pytest.fixture
def enlarger(tmp_path: Path) -> tuple[RRDBNet, Path]:
    """A network that enlarges twice, and its file."""
    torch.manual_seed(0)
    network = RRDBNet(3, 3, scale=2, num_feat=8, num_block=1, num_grow_ch=32).eval()
    for parameter in network.parameters():
        parameter.data *= 3  # its output would be nearly constant
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
    """Options that a test may change; checkpoints go to a temporary folder."""
    opt = copy.deepcopy(OPTIONS)
    for name in ('models', 'training_states'):
        (tmp_path / name).mkdir()
        opt['path'][name] = str(tmp_path / name)
    return opt


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """No file may grow beyond 1000 bytes from now on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
