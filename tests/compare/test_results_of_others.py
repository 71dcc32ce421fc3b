"""Tests of comparisons with other networks and with results of other programs."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr
from skimage import data
from test_compare import degraded_set, rows_of, write_options

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.compare import methods
from hifacegan_plugin.images.sources import read_rgb

pytest.importorskip('spandrel', reason='needs the spandrel extra')


@pytest.fixture
def enlarger(enlarger):
    """A network that enlarges images by a factor of 2, and its options as a restorer."""
    network, file = enlarger
    return network, {'type': 'spandrel', 'pretrain_network_g': str(file)}


def enlarged(network, image):
    """Return the result of the original program."""
    x = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
    with torch.no_grad():
        return 255 * network(x).clamp(0, 1)[0].permute(1, 2, 0).numpy()


def test_results_are_resized_to_the_ground_truth(enlarger):
    network, options = enlarger
    image = data.astronaut()[100:140, 200:264]
    expected = enlarged(network, image)
    assert expected.std() > 5
    method = methods.build_method(options)

    of_full_size = method.restore(image, (40, 64))  # the network gets the original image
    means = expected.reshape(40, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(of_full_size - means).max() <= 0.51

    assert np.abs(method.restore(image, (80, 128)) - expected).max() <= 0.51
    assert method.restore(image, (120, 192)).shape == (120, 192, 3)  # the input was enlarged to 60x96
    assert method.network_input(image, (120, 192)).shape == (1, 3, 60, 96)

    shrinking = methods.build_method({**options, 'shrink_input': True})
    small = cv2.resize(image, (32, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(shrinking.restore(image, (40, 64)) - enlarged(network, small)).max() <= 1


def test_other_networks_and_results_in_one_table(tmp_path, small_lmdb, enlarger):
    network, options = enlarger
    torch.save(torch.nn.Linear(3, 3).state_dict(), tmp_path / 'unknown.pth')
    given = tmp_path / 'given'
    given.mkdir()
    file = write_options(
        tmp_path,
        {'set': {**degraded_set(small_lmdb), 'io_backend': {'type': 'lmdb'}}},
        {
            'input': {'type': 'input'},
            'x2': options,
            'unknown': {**options, 'pretrain_network_g': str(tmp_path / 'unknown.pth')},
            'given': {'type': 'folder', 'dataroot': str(given), 'filename_tmpl': '{}_out'},
            'nowhere': {'type': 'folder', 'dataroot': str(tmp_path / 'nowhere')},
        },
    )
    out = tmp_path / 'out'
    command = ['compare', '-opt', str(file), '-o', str(out), '--resume']
    assert main(command) == 1
    rows, problems = rows_of(out)
    assert [row['restored'] for row in rows.values()] == [6, 6, 0, 0, 0]
    assert rows['x2']['parameters'] == sum(parameter.numel() for parameter in network.parameters())
    assert rows['x2']['gflop'] > 0 and rows['x2']['gflop_input'] == [96, 80]
    for label, message in {
        'unknown': 'unknown.pth: these are not weights of a HiFaceGAN generator, nor of a network that',
        'given': f'dataroot: no images in {given}',
        'nowhere': f'dataroot: {tmp_path}/nowhere does not exist',
    }.items():
        assert message in rows[label]['error']
        assert any(problem.startswith(f'{label}: ') and message in problem for problem in problems)

    # Results of another program for the degraded images in the output folder.
    names = [file.stem for file in sorted((out / 'images/set/degraded').iterdir())]
    for name in names[:5]:
        blurred = cv2.blur(cv2.imread(str(out / f'images/set/degraded/{name}.png')), (3, 3))
        cv2.imwrite(str(given / f'{name}_out.png'), blurred[:-1] if name == names[1] else blurred)
    (given / f'{names[2]}_out.png').write_bytes(b'no image')
    shutil.copy(given / f'{names[3]}_out.png', given / f'{names[3]}_out.bmp')
    assert main(command) == 1
    rows, problems = rows_of(out)
    assert rows['given']['restored'] == 2 and rows['given']['error'] is None
    assert rows['given']['milliseconds'] is rows['given']['gflop'] is rows['given']['peak_mib'] is None
    for name, message in {
        names[1]: 'the result has 80x95 pixels, and the ground truth 80x96',
        names[2]: f'{given}/{names[2]}_out.png is not an image',
        names[3]: f'there are several results: {given}/{names[3]}_out.bmp, {given}/{names[3]}_out.png',
        names[5]: f'there is no result named {names[5]}_out',
    }.items():
        assert any(problem.startswith(f'set: given: {name}: {message}') for problem in problems), name
    result, truth = (read_rgb(out / f'images/set/{which}/{names[0]}.png') for which in ('given', 'truth'))
    assert np.array_equal(result[..., ::-1], cv2.imread(str(given / f'{names[0]}_out.png')))
    psnr = calculate_psnr(result[..., ::-1], truth[..., ::-1], 0)
    assert rows['given']['values']['PSNR'][names[0]] == pytest.approx(psnr)

    # Results may be in a subfolder with the name of the test set.
    (given / 'set').mkdir()
    for name in names:
        shutil.copy(out / f'images/set/truth/{name}.png', given / f'set/{name}_out.png')
    shutil.copytree(out / 'images/set/truth', tmp_path / 'nowhere')  # with the names of the degraded images
    main(command)
    rows, _ = rows_of(out)
    assert rows['given']['restored'] == rows['nowhere']['restored'] == 6
