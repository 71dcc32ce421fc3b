"""Tests of DegradationDataset, built and loaded by the host."""

import json
import multiprocessing
import os
import pickle
import shutil
import zlib

import cv2
import lmdb
import numpy as np
import pytest
import skimage.data
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.prefetch_dataloader import CPUPrefetcher
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

import hifacegan_plugin  # noqa: F401  registers the data set
from hifacegan_plugin.data import DegradationDataset
from hifacegan_plugin.data.degradations import build_degradation, make_generator
from hifacegan_plugin.images import sources

NAMES = ('astronaut', 'chelsea', 'coffee')
SIZES = {'astronaut': (96, 96), 'chelsea': (72, 108), 'coffee': (80, 120)}


def clean_image(name):
    """Return a small image, uint8 RGB."""
    return cv2.resize(getattr(skimage.data, name)(), SIZES[name][::-1], interpolation=cv2.INTER_AREA)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    for name in NAMES:
        cv2.imwrite(str(folder / f'{name}.png'), clean_image(name)[..., ::-1])
    return folder


def make_lmdb(folder, path):
    """An LMDB made by the host."""
    files = sorted(p.name for p in folder.iterdir())
    make_lmdb_from_imgs(str(folder), str(path), files, [name.rpartition('.')[0] for name in files])
    return path


@pytest.fixture(scope='module')
def database(folder, tmp_path_factory):
    return make_lmdb(folder, tmp_path_factory.mktemp('databases') / 'images.lmdb')


def build(root, **options):
    backend = {'type': 'lmdb' if str(root).endswith('.lmdb') else 'disk'}
    root = list(map(str, root)) if isinstance(root, list) else str(root)
    return build_dataset(
        {
            'name': 'test',
            'type': 'DegradationDataset',
            'phase': 'train',
            'degradation': 'full',
            'dataroot_gt': root,
            'io_backend': backend,
            **options,
        }
    )


def crc(item):
    """Return the path and the bytes of an item."""
    return item['gt_path'], *(zlib.crc32(item[key].numpy().tobytes()) for key in ('gt', 'lq'))


# ---------------------------------------------------------------------------------------------------- content


def test_validation_returns_whole_images_and_their_degradation(folder):
    dataset = build(folder, phase='val', degradation='jpeg', seed=3)
    assert len(dataset) == 3
    for item, name in zip(dataset, NAMES):
        expected = build_degradation('jpeg')(clean_image(name), make_generator(3, name))
        for key, image in (('gt', clean_image(name)), ('lq', expected)):
            assert item[key].dtype == torch.float32 and item[key].is_contiguous()
            assert torch.equal(item[key], torch.from_numpy(image.transpose(2, 0, 1)).float() / 255)
        assert item['gt_path'] == item['lq_path'] == str(folder / f'{name}.png')


def test_deliver_uint8(folder):
    for floats, raw in zip(build(folder, gt_size=48), build(folder, gt_size=48, deliver='uint8')):
        for key in ('lq', 'gt'):
            assert raw[key].dtype == torch.uint8 and torch.equal(raw[key].float() / 255, floats[key])


def test_lmdb_and_folder_give_the_same_items(folder, database):
    for options in ({'phase': 'val'}, {'gt_size': 48, 'use_hflip': True}):
        for a, b in zip(build(folder, **options), build(database, **options)):
            assert torch.equal(a['lq'], b['lq']) and torch.equal(a['gt'], b['gt'])
            assert b['gt_path'] in NAMES


@pytest.mark.parametrize('recipe', ['sr4x', 'down', 'mosaic16x', 'noise', 'full', 'rain_haze', 'realesrgan'])
@pytest.mark.parametrize('scale', [1, 2, 4])
def test_scale_fixes_the_size_of_the_degraded_image(folder, recipe, scale):
    for item in build(folder, degradation=recipe, scale=scale, gt_size=64):
        assert item['gt'].shape == (3, 64, 64) and item['lq'].shape == (3, 64 // scale, 64 // scale)
    for item in build(folder, degradation=recipe, scale=scale, phase='val'):
        _, height, width = item['gt'].shape
        assert item['lq'].shape == (3, height // scale, width // scale)
        assert item['lq'].min() >= 0 and item['lq'].max() <= 1


@pytest.mark.parametrize('scale', [1, 2])
def test_grey_items_are_degraded_luma(folder, scale):
    items = build(folder, degradation='full', color='grey', scale=scale, phase='val')
    for name, item in zip(NAMES, items, strict=True):
        luma = cv2.cvtColor(clean_image(name), cv2.COLOR_RGB2GRAY)[..., None]
        degraded = build_degradation('full')(luma, make_generator(0, name))
        height, width = (side // scale for side in luma.shape[:2])
        assert torch.equal(item['gt'], torch.from_numpy(luma).permute(2, 0, 1) / 255)
        assert item['lq'].shape == (1, height, width)
        if degraded.shape == (height, width, 1):
            assert torch.equal(item['lq'], torch.from_numpy(degraded).permute(2, 0, 1) / 255)
    crop = build(folder, degradation='noise', color='grey', gt_size=64, use_rot=True, deliver='uint8')[0]
    assert crop['lq'].shape == crop['gt'].shape == (1, 64, 64) and crop['lq'].dtype == torch.uint8


def test_sr4x_at_scale_4_is_the_area_mean(folder):
    item = build(folder, degradation='sr4x', scale=4, phase='val')[0]
    mean = item['gt'].reshape(3, 24, 4, 24, 4).mean(dim=(2, 4))
    assert (item['lq'] - mean).abs().max() <= 0.51 / 255


def test_ground_truth_is_cropped_to_a_multiple_of_scale(folder):
    assert build(folder, scale=5, phase='val')[1]['gt'].shape == (3, 70, 105)


def test_crops_and_flips_are_uniform(folder):
    dataset = build(folder, degradation=[], gt_size=72, use_hflip=True, use_rot=True)
    whole = {crop.tobytes() for left in range(37) for crop in _eight(clean_image('chelsea')[:, left : left + 72])}
    seen = set()
    for draw in range(1, 3 * 600, 3):
        crop = (dataset[draw]['gt'].numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8).tobytes()
        assert crop in whole
        seen.add(crop)
    assert len(seen) > 0.75 * len(whole)  # 600 draws of 296 equally likely crops give 87 % of them


def _eight(crop):
    for image in (crop, crop.transpose(1, 0, 2)):
        yield from (image, image[::-1], image[:, ::-1], image[::-1, ::-1])


@pytest.mark.parametrize(('resize', 'shape'), [(40, (3, 40, 60)), ([50, 30], (3, 50, 30))])
def test_resize_to_a_shorter_side_or_a_size(folder, resize, shape):
    assert build(folder, phase='val', resize=resize)[2]['gt'].shape == shape
    assert build(folder, gt_size=30, resize=resize)[2]['gt'].shape == (3, 30, 30)


def test_parameters_are_returned_only_on_request(folder):
    assert 'degradation' not in build(folder, gt_size=32)[0]
    dataset = build(folder, gt_size=32, return_parameters=True)
    drawn = json.loads(dataset[0]['degradation'])
    assert {'JPEG', 'Resize'} <= {step['type'] for step in drawn}
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=2)))
    assert json.loads(batch['degradation'][0]) == drawn


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_depth_maps_follow_crop_and_flip(dtype, tmp_path):
    # The images are grey and their own depth maps, so the haze of a pixel depends only on its clean value.
    for root, unit in (('images', 1), ('depth', np.iinfo(dtype).max // 255)):
        (tmp_path / root).mkdir()
        for name in NAMES:
            grey = clean_image(name)[..., 1].astype(dtype if root == 'depth' else np.uint8)
            cv2.imwrite(str(tmp_path / root / f'{name}.png'), grey * unit)
    haze = {'type': 'Haze', 'beta': 1.0, 'airlight': 1.0}
    dataset = build(
        tmp_path / 'images',
        dataroot_depth=str(tmp_path / 'depth'),
        degradation=haze,
        gt_size=48,
        use_hflip=True,
        use_rot=True,
    )
    for index in range(12):
        item = dataset[index]
        assert (item['lq'] - (1 + (item['gt'] - 1) * (-item['gt']).exp())).abs().max() < 0.51 / 255


def test_missing_depth_maps_are_reported(folder, tmp_path):
    shutil.copy(folder / 'coffee.png', tmp_path)
    with pytest.raises(ValueError, match=r'dataroot_depth has no depth map for .*astronaut\.png'):
        build(folder, dataroot_depth=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r'dataroot_depth: .*nowhere does not exist'):
        build(folder, dataroot_depth=str(tmp_path / 'nowhere'))
    shutil.copy(folder / 'coffee.png', tmp_path / 'coffee.bmp')
    with pytest.raises(
        ValueError, match=r'dataroot_depth has two depth maps of one name: .*coffee\.bmp and .*coffee\.png'
    ):
        build(folder, dataroot_depth=[str(tmp_path), str(folder)])


# ------------------------------------------------------------------------------------------------------ seeds


def test_training_items_depend_only_on_seed_epoch_and_index(folder):
    dataset = build(folder, gt_size=48)
    first = [crc(dataset[i]) for i in range(6)]
    assert len(set(first)) == 6 and [path for path, *_ in first[:3]] == [path for path, *_ in first[3:]]
    np.random.seed(7)
    assert [crc(dataset[i]) for i in reversed(range(6))] == first[::-1]
    assert not set(first) & {crc(build(folder, gt_size=48, seed=1)[i]) for i in range(6)}
    dataset.set_epoch(1)
    assert not set(first) & {crc(dataset[i]) for i in range(6)}
    dataset.set_epoch(0)
    assert [crc(dataset[i]) for i in range(6)] == first


def test_validation_items_do_not_change(folder, tmp_path):
    dataset = build(folder, phase='val')
    first = [crc(item) for item in dataset]
    dataset.set_epoch(5)
    assert [crc(dataset[i]) for i in (2, 0, 1)] == [first[i] for i in (2, 0, 1)]
    shutil.copy(folder / 'coffee.png', tmp_path)
    assert crc(build(tmp_path, phase='val')[0])[1:] == first[2][1:]


def epochs(dataset, workers, context=None, **options):
    """Return the items of two epochs in the host's training loop, which starts an additional iteration before them."""
    opt = {'phase': 'train', 'num_worker_per_gpu': workers, 'batch_size_per_gpu': 2, **options}
    sampler = EnlargedSampler(dataset, 1, 0, ratio=2)
    loader = build_dataloader(dataset, opt, sampler=sampler, seed=0)
    loader.multiprocessing_context = context if workers else None
    prefetcher = CPUPrefetcher(loader)
    seen = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        prefetcher.reset()
        seen.append([])
        while (batch := prefetcher.next()) is not None:
            seen[-1] += [crc({key: values[i] for key, values in batch.items()}) for i in range(2)]
    return seen


@pytest.fixture(scope='module')
def alone(database):
    """The items of two epochs without workers."""
    return epochs(build(database, gt_size=32), workers=0)


def test_items_of_two_epochs_differ(alone):
    assert [len(epoch) for epoch in alone] == [6, 6]
    assert len(set(alone[0] + alone[1])) == 12


PREFETCHING = {'prefetch_mode': 'cpu', 'num_prefetch_queue': 2}
PERSISTENT = {'persistent_workers': True}


@pytest.mark.parametrize(
    ('workers', 'context', 'options'),
    [
        (0, None, PREFETCHING),
        *(
            (workers, 'fork', options)
            for workers in (1, 3)
            for options in ({}, PERSISTENT, PREFETCHING, {**PERSISTENT, **PREFETCHING})
        ),
        pytest.param(2, 'spawn', PERSISTENT, marks=pytest.mark.heavy),
        pytest.param(1, 'spawn', {**PERSISTENT, **PREFETCHING}, marks=pytest.mark.heavy),
    ],
    ids=lambda value: '+'.join(value) if isinstance(value, dict) else str(value),
)
@pytest.mark.filterwarnings('ignore:This DataLoader will create')
def test_items_do_not_depend_on_the_workers(database, alone, workers, context, options):
    dataset = build(database, gt_size=32)
    dataset[0]  # opens the database before the fork
    assert epochs(dataset, workers, context, **options) == alone


def test_workers_use_one_opencv_thread(folder):
    class Threads(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            dataset[0]
            return cv2.getNumThreads()

    dataset = build(folder, gt_size=32)
    before = cv2.getNumThreads()
    assert next(iter(torch.utils.data.DataLoader(Threads(), num_workers=1))).item() == 1
    dataset[0]
    assert cv2.getNumThreads() == before


# ------------------------------------------------------------------------------------------------------- roots


def test_each_process_opens_a_database_once(database, monkeypatch):
    opened_in, lmdb_open = [], lmdb.open

    def open_and_tell(path, **options):
        opened_in.append(os.getpid())
        return lmdb_open(path, **options)

    def read(queue):
        queue.put(([crc(item) for item in val], opened_in))

    monkeypatch.setattr(lmdb, 'open', open_and_tell)
    train, val = build(database, gt_size=32), build(database, phase='val')
    expected = [crc(item) for item in val]
    train[0]
    context = multiprocessing.get_context('fork')
    queue = context.SimpleQueue()
    process = context.Process(target=read, args=(queue,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert queue.get() == (expected, [os.getpid(), process.pid])
    assert expected == [crc(item) for item in val] and opened_in == [os.getpid()]


def test_unused_databases_are_closed(database):
    val, other = build(database, phase='val'), build(database, phase='val')
    val[0], other[0]
    del val
    with pytest.raises(lmdb.Error, match='already open'):
        lmdb.open(str(database), readonly=True, lock=False)
    del other
    lmdb.open(str(database), readonly=True, lock=False).close()


def test_a_data_set_of_a_database_can_be_pickled(database):
    val = build(database, phase='val')
    expected = crc(val[0])
    assert crc(pickle.loads(pickle.dumps(val))[0]) == expected


@pytest.mark.parametrize('first', ['PairedImageDataset', 'DegradationDataset'])
def test_data_sets_of_the_host_and_the_plugin_can_share_a_database(database, tmp_path, first):
    """Items equal those from files, in this process and in workers that are forked later."""
    shutil.copytree(database, link := tmp_path / 'lq.lmdb')
    options = {'phase': 'val', 'name': 'v', 'scale': 1, 'dataroot_gt': str(database), 'io_backend': {'type': 'lmdb'}}
    of_host = {**options, 'type': 'PairedImageDataset', 'dataroot_lq': str(link)}
    swapped = {**of_host, 'dataroot_gt': str(link), 'dataroot_lq': str(database)}
    ours = {**options, 'type': 'DegradationDataset', 'degradation': 'noise'}
    all_options = [of_host, swapped, ours] if first == of_host['type'] else [ours, swapped, of_host]
    sets = [build_dataset(options) for options in all_options]
    expected = list(map(clean_image, NAMES))
    for dataset in sets:
        assert len(dataset) == len(expected)
        assert all(np.array_equal(_to_image(dataset[i]['gt']), image) for i, image in enumerate(expected))
    for dataset in sets:
        loader = torch.utils.data.DataLoader(dataset, num_workers=1, multiprocessing_context='fork')
        for item, image in zip(loader, expected, strict=True):
            assert np.array_equal(_to_image(item['gt'][0]), image)


def _to_image(tensor):
    return (tensor * 255).round().byte().permute(1, 2, 0).numpy()


def test_several_roots_patterns_and_subfolders(folder, tmp_path):
    for i, name in enumerate(NAMES):
        part = tmp_path / f'folders/{i}'
        part.mkdir(parents=True)
        shutil.copy(folder / f'{name}.png', part)
        shutil.copytree(part, tmp_path / f'folders/.thumbs/{i}')
        make_lmdb(part, tmp_path / f'part-{i}.lmdb')
    lmdb_backend = {'io_backend': {'type': 'lmdb'}}
    parts = build([tmp_path / f'part-{i}.lmdb' for i in (2, 0)], phase='val', **lmdb_backend)
    assert [item['gt_path'] for item in parts] == ['coffee', 'astronaut']
    pattern = build(tmp_path / 'part-*.lmdb', phase='val')
    assert [item['gt_path'] for item in pattern] == list(NAMES)
    nested = build(tmp_path / 'folders', phase='val')
    assert [item['gt_path'] for item in nested] == [str(tmp_path / f'folders/{i}/{n}.png') for i, n in enumerate(NAMES)]


@pytest.mark.parametrize('line', ['coffee.png', 'coffee', 'coffee.png (80,120,3) 1', 'coffee.jpg'])
@pytest.mark.parametrize('kind', ['folder', 'database'])
def test_a_list_selects_images(kind, line, folder, database, tmp_path):
    names = tmp_path / 'list.txt'
    names.write_text(f'{line}\n\nastronaut\n', encoding='utf-8-sig')  # with a byte order mark
    dataset = build({'folder': folder, 'database': database}[kind], phase='val', meta_info_file=str(names))
    assert [item['gt'].shape for item in dataset] == [(3, 80, 120), (3, 96, 96)]


def test_percent_encoded_keys_give_the_same_items_as_files(folder, tmp_path):
    (tmp_path / 'in/a b').mkdir(parents=True)
    shutil.copy(folder / 'coffee.png', tmp_path / 'in/a b/coffee.v2.png')
    make_lmdb_from_imgs(str(tmp_path / 'in'), str(tmp_path / 'x.lmdb'), ['a b/coffee.v2.png'], ['a%20b%2Fcoffee%2Ev2'])
    from_file, from_database = (build(tmp_path / root, phase='val')[0] for root in ('in', 'x.lmdb'))
    assert from_database['gt_path'] == 'a%20b%2Fcoffee%2Ev2'
    (tmp_path / 'list.txt').write_text('a b/coffee.v2.png\n')  # as hifacegan split writes it
    assert len(build(tmp_path / 'x.lmdb', phase='val', meta_info_file=str(tmp_path / 'list.txt'))) == 1
    assert crc(from_file)[1:] == crc(from_database)[1:]


@pytest.mark.parametrize(
    ('found', 'names'),
    [
        ([('/d', 'a/1.png'), ('/d', 'b c/2.png')], ['1', '2']),
        ([('/d', 'a/1.png'), ('/d', 'b c/1.png'), ('/d', '2.png')], ['a%2F1', 'b%20c%2F1', '2']),
        ([('/d/x', '1.png'), ('/d/y/z', '1.png')], ['x%2F1', 'y%2Fz%2F1']),
        ([('/d', 'a/1.png'), ('/d', 'a/1.jpg')], ['a%2F1.png', 'a%2F1.jpg']),
        ([('/d.lmdb', 'a%2F1'), ('/d.lmdb', 'b%2F1')], ['a%2F1', 'b%2F1']),
        ([('/d/x.lmdb', 'a%2F1'), ('/d/y.lmdb', 'a%2F1')], ['x.lmdb%2Fa%2F1', 'y.lmdb%2Fa%2F1']),
    ],
    ids=['files', 'folders', 'roots', 'suffixes', 'keys', 'databases'],
)
def test_saved_names_are_short_but_unique(found, names):
    assert sources.names_to_save([sources.ImageSource(*where) for where in found]) == names


def test_the_home_folder_is_expanded(folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder.parent))
    assert len(build(f'~/{folder.name}')) == 3


def test_keys_with_dots_equal_those_of_the_hosts_paired_dataset(folder, tmp_path):
    (tmp_path / 'in').mkdir()
    shutil.copy(folder / 'coffee.png', tmp_path / 'in/coffee.v2.png')
    database = make_lmdb(tmp_path / 'in', tmp_path / 'dots.lmdb')
    assert build(database, phase='val')[0]['gt_path'] == 'coffee.v2'


def test_pixels_equal_those_that_the_host_reads(folder):
    host = PairedImageDataset(
        {
            'dataroot_gt': str(folder),
            'dataroot_lq': str(folder),
            'io_backend': {'type': 'disk'},
            'phase': 'val',
            'scale': 1,
        }
    )
    ours = {item['gt_path']: item['gt'] for item in build(folder, phase='val')}
    for item in host:
        assert torch.allclose(ours[item['gt_path']], item['gt'], atol=1e-6)


# --------------------------------------------------------------------------------------------- odd and bad input


@pytest.mark.parametrize(
    ('name', 'convert'),
    [
        ('grey', lambda rgb: rgb[..., 1]),
        ('grey 16 bit', lambda rgb: rgb[..., 1].astype(np.uint16) * 256 + 99),
        ('alpha', lambda rgb: np.dstack([rgb[..., ::-1], rgb[..., 0]])),
        ('16 bit', lambda rgb: rgb[..., ::-1].astype(np.uint16) * 256 + 99),
    ],
)
def test_other_pixel_formats_become_8_bit_rgb(name, convert, tmp_path):
    rgb = clean_image('coffee')
    cv2.imwrite(str(tmp_path / 'image.png'), convert(rgb))
    (item,) = build(tmp_path, phase='val', degradation=[])
    expected = np.repeat(rgb[..., 1:2], 3, axis=2) if 'grey' in name else rgb
    assert np.array_equal((item['gt'].numpy() * 255).round(), expected.transpose(2, 0, 1))


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize(
    'damage',
    [
        lambda encoded: encoded[: len(encoded) // 2],
        lambda encoded: encoded[:-9],
        lambda encoded: b'',
        lambda encoded: b'no image',
    ],
    ids=['half', 'end missing', 'empty', 'garbage'],
)
def test_damaged_files_are_reported(suffix, damage, tmp_path):
    path = tmp_path / f'coffee{suffix}'
    path.write_bytes(damage(cv2.imencode(suffix, clean_image('coffee'))[1].tobytes()))
    with pytest.raises(ValueError, match=rf'{path} is (damaged|empty|not an image)'):
        build(tmp_path, phase='val')[0]


def test_damaged_entries_are_reported_with_key_and_database(database, tmp_path):
    damaged = shutil.copytree(database, tmp_path / 'damaged.lmdb')
    with lmdb.open(str(damaged)) as env, env.begin(write=True) as txn:
        value = bytearray(txn.get(b'chelsea'))
        value[len(value) // 2] ^= 0xFF
        txn.put(b'chelsea', bytes(value))
        txn.delete(b'coffee')
    dataset = build(damaged, phase='val')
    dataset[0]
    with pytest.raises(ValueError, match=rf"key 'chelsea' of {damaged} is damaged"):
        dataset[1]
    with pytest.raises(ValueError, match=rf"key 'coffee' of {damaged} is missing"):
        dataset[2]


def test_errors_in_workers_name_the_image(tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'no image')
    loader = torch.utils.data.DataLoader(build(tmp_path, gt_size=32), num_workers=1)
    with pytest.raises(ValueError, match=r'bad\.png is not an image'):
        next(iter(loader))


def test_images_smaller_than_the_crop_are_reported_with_a_fix(folder):
    with pytest.raises(ValueError, match=r'chelsea\.png is 108x72, smaller than gt_size 80.*resize: 80'):
        build(folder, gt_size=80)[1]
    with pytest.raises(ValueError, match=r'chelsea\.png is 3x2, smaller than scale 4'):
        build(folder, phase='val', resize=2, scale=4)[1]


def test_validation_sets_may_contain_the_defaults_of_training(folder):
    options = {'deliver': 'float', 'use_hflip': False, 'use_rot': None, 'gt_size': None}
    assert build(folder, phase='val', **options)[0]['gt'].dtype == torch.float32


def test_index_errors(folder):
    for index in (-1, 3):
        with pytest.raises(IndexError):
            build(folder, phase='val')[index]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'degredation': 'full'}, r"dataset test: unknown option 'degredation'. Did you mean 'degradation'\?"),
        ({'gt_sice': 32}, r"unknown option 'gt_sice'. Did you mean 'gt_size'\?"),
        ({'degradation': None}, 'dataset test: degradation is missing'),
        ({'degradation': 'ful'}, r"unknown degradation recipe 'ful'. Did you mean 'full'\?"),
        ({'gt_size': 33, 'scale': 2}, 'dataset test: gt_size: 33 is not a multiple of scale'),
        ({'gt_size': '64'}, "gt_size: give a whole number from 1 up .*, not '64'"),
        ({'scale': 0}, 'scale: give a whole number from 1 up, not 0'),
        ({'deliver': 'bytes'}, "deliver: give float or uint8, not 'bytes'"),
        ({'resize': [3]}, r'resize: give the length of the shorter side or \[height, width\]'),
        ({'phase': 'val', 'gt_size': 64}, 'gt_size is only for training. Phase val'),
        (
            {'phase': 'test', 'deliver': 'uint8'},
            'deliver is only for training. Phase test returns whole images as float',
        ),
        ({'color': 'y'}, "color: give rgb or grey, not 'y'"),
        ({'io_backend': {'type': 'lmbd'}}, "io_backend: type: give disk or lmdb, not 'lmbd'"),
        ({'io_backend': {'type': 'lmdb'}}, r"does not end in '\.lmdb'"),
    ],
)
def test_invalid_options_are_reported(options, message, folder):
    with pytest.raises(ValueError, match=message):
        build(folder, **options)


def test_unreadable_subfolders_are_reported(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / 'open')
    (tmp_path / 'closed').mkdir()
    scandir = os.scandir

    def denied(path):
        if str(path).endswith('closed'):
            raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', denied)
    with pytest.raises(ValueError, match=r'dataroot_gt: .*closed cannot be read \(Permission denied\)'):
        build(tmp_path)


def test_invalid_roots_are_reported(folder, database, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere does not exist'):
        build(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r'nowhere\.lmdb does not exist'):
        build(tmp_path / 'nowhere.lmdb')
    with pytest.raises(ValueError, match=r'no images in .* looked for'):
        build(tmp_path)
    with pytest.raises(ValueError, match='is an LMDB; set io_backend'):
        build(database, io_backend={'type': 'disk'})
    with pytest.raises(ValueError, match='dataroot_gt is an empty list'):
        build([])
    for part in ('data.mdb', 'meta_info.txt'):
        incomplete = shutil.copytree(database, tmp_path / f'without_{part}.lmdb')
        (incomplete / part).unlink()
        with pytest.raises(FileNotFoundError, match=rf'{incomplete} has no {part}'):
            build(incomplete)
    cut = shutil.copytree(database, tmp_path / 'cut.lmdb') / 'data.mdb'
    cut.write_bytes(cut.read_bytes()[:-8192])
    with pytest.raises(ValueError, match=r'dataroot_gt: .*cut\.lmdb/data\.mdb is truncated: '):
        build(cut.parent)
    names = tmp_path / 'list.txt'
    names.write_text('coffee\ntea\n')
    with pytest.raises(ValueError, match=r"list\.txt names 'tea', which no dataroot_gt has"):
        build(folder, meta_info_file=str(names))
    names.write_bytes(b'\xff')
    with pytest.raises(ValueError, match=r'meta_info_file: .*list\.txt is not UTF-8 text'):
        build(folder, meta_info_file=str(names))
    with pytest.raises(FileNotFoundError, match=r'meta_info_file: .*missing\.txt does not exist'):
        build(folder, meta_info_file=str(tmp_path / 'missing.txt'))


def test_subclasses_have_their_own_names(folder):
    class DerivedDataset(DegradationDataset):
        """A subclass that a user may register."""

    assert len(DerivedDataset({**build(folder).opt, 'type': 'DerivedDataset'})) == len(NAMES)
