"""Options files of trainings and tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, field_validator

from hifacegan_plugin.images.channels import channels_of
from hifacegan_plugin.schema.data import DatasetsOfTraining, DatasetsToTest
from hifacegan_plugin.schema.problem import OptionError, Problem, did_you_mean
from hifacegan_plugin.schema.reading import numbers_as_text
from hifacegan_plugin.schema.section import Count, FromZero, Section, Switch, find_problems, option, parse
from hifacegan_plugin.schema.training import HostTrain, Train, TypeAndArguments

OUR_MODEL = 'HiFaceGANCSRModel'
OUR_DISCRIMINATOR = 'MultiscalePatchDiscriminator'
A_PATH = 'a path, or ~ for none'


class MetricOptions(TypeAndArguments):
    """A metric, with the arguments of its function."""

    type: str = option('the name of the function', takes='the name of a metric')
    region: Literal['face', 'background'] | None = option(
        'measures only the faces of the ground truth, or only the background; for PSNR, SSIM and MS-SSIM', None
    )
    better: Literal['higher', 'lower'] | None = option(
        'which values are better, for metrics that the plugin does not know', None
    )


class ValOfTest(Section):
    """The options under ``val`` of a test."""

    unknown_stops: ClassVar[bool] = False
    save_img: Switch = option('writes every restored image', takes='true or false')
    suffix: str | None = option('suffix of image names; by default, the name of the experiment', None)
    pbar: Switch = option('shows the progress of validations longer than five seconds; once a minute in files', True)
    metrics: dict[str, MetricOptions] | None = option(
        'metrics by names of your choice, each a function and its arguments; see [metrics](comparison.md)',
        None,
        takes='metrics by name',
    )


class ValOfTraining(ValOfTest):
    """The options under ``val`` of a training."""

    val_freq: Count = option('interval between validations', unit='iterations')


class Wandb(Section):
    """The options under ``logger: wandb``."""

    unknown_stops: ClassVar[bool] = False
    project: str | None = option('project in Weights & Biases that receives what TensorBoard logs', None)
    resume_id: str | None = option('run to resume', None)


class Logger(Section):
    """The options under ``logger``."""

    unknown_stops: ClassVar[bool] = False
    print_freq: Count = option('interval between log lines with the losses', unit='iterations')
    save_checkpoint_freq: Count = option('interval between checkpoints', unit='iterations')
    use_tb_logger: bool = option(
        'logs losses, metrics and the first images of each validation set to TensorBoard', False
    )
    wandb: Wandb | None = option('also logs to Weights & Biases', None)


class Paths(Section):
    """The options under ``path``; networks other than ``g`` and ``d`` have the same keys with their own suffix."""

    model_config = ConfigDict(extra='allow')
    __pydantic_extra__: dict[str, str | bool | list[str] | None]  # the host's ignore_resume_networks is a list
    experiments_root: str | None = option('folder that holds the folders of trainings', None, takes=A_PATH)
    results_root: str | None = option('folder that holds the folders of tests', None, takes=A_PATH)
    pretrain_network_g: str | None = option(
        "weights to start from: this plugin's, the reference's or BasicSR's", None, takes=A_PATH
    )
    param_key_g: str | None = option(
        'which weights to load from a file with several: `params` or `params_ema`', 'params'
    )
    strict_load_g: Switch = option('`false` loads the weights that fit and logs the rest', True)
    pretrain_network_d: str | None = option('weights of the discriminator to start from', None, takes=A_PATH)
    strict_load_d: Switch = option('`false` loads the weights that fit and logs the rest', True)
    resume_state: str | None = option('training state to resume; `--auto_resume` finds the newest', None, takes=A_PATH)


class Distribution(Section):
    """The options under ``dist_params``."""

    model_config = ConfigDict(extra='allow')
    backend: str = option('`nccl`; without a GPU, `gloo` is used', 'nccl')
    port: Annotated[int, Field(ge=1, le=65535)] | None = option('port of the first process, under slurm', None)


def _folder_name(name: str) -> str:
    if Path(name).name != name or name in ('', '..'):
        raise ValueError('it cannot be the name of a folder')
    return name


class OptionsFile(Section):
    """Options of every options file of the host."""

    model_config = ConfigDict(extra='allow')  # for lines that import modules, and for networks of other models
    name: Annotated[str, AfterValidator(_folder_name)] = option(
        'name of the experiment and of its folder', takes='the name of a folder, without "/"'
    )
    model_type: str = option('the class of the model', takes='the name of a class')
    scale: Count = option('how many times larger the restored image is than the degraded one', 1)
    num_gpu: FromZero | Literal['auto'] = option('GPUs of a process; `auto` uses all GPUs')
    manual_seed: FromZero | None = option(
        'random seed of initial weights and of networks and losses that draw; random by default', None
    )
    find_unused_parameters: Switch = option(
        'for networks that leave some weights without a gradient in an iteration', False
    )
    datasets: DatasetsToTest = option('data sets, by name')
    network_g: TypeAndArguments = option('the generator')
    network_d: TypeAndArguments | None = option('the discriminator', None)
    path: Paths = option('folders and weights files')
    dist_params: Distribution | None = option('options for training in several processes', None)

    @field_validator('datasets', mode='before')
    @classmethod
    def _with_phase_and_scale(cls, datasets: Any, info: Any) -> Any:
        """Set phase and scale of each data set, as the host does before it is built."""
        if not isinstance(datasets, dict):
            return datasets
        shared = {'scale': info.data['scale']} if 'scale' in info.data else {}
        return {
            name: {**options, 'phase': str(name).partition('_')[0], **shared} if isinstance(options, dict) else options
            for name, options in datasets.items()
        }


class TestFile(OptionsFile):
    """Options of a test."""

    val: ValOfTest = option('what to measure and write')

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        if not self.datasets.__pydantic_extra__:
            yield 'datasets: list at least one, as test: {...}'


class HostTrainingFile(OptionsFile):
    """Options for training a model of the host or of another package."""

    datasets: DatasetsOfTraining = option('data sets, by name')
    train: HostTrain = option('the training')
    val: Annotated[ValOfTraining | None, BeforeValidator(lambda value: value or None)] = option(
        'what to measure and write, and when', None
    )
    logger: Logger = option('what to log and save, and when')


class TrainingFile(HostTrainingFile):
    """Options for training with ``HiFaceGANCSRModel``."""

    train: Train = option('the training')

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        yield from _conflicts_of_training(self.train, self.model_dump())


def parse_training(opt: Mapping[str, Any]) -> Train:
    """Parse the options under ``train`` of ``HiFaceGANCSRModel``.

    Args:
        opt: all options, as the host passes them to the model.

    Raises:
        OptionError: an option is missing, out of range or in conflict with another; names the first one.
    """
    train = parse(Train, opt['train'], 'train')
    for text in _conflicts_of_training(train, opt):
        raise OptionError(text)
    return train


def _conflicts_of_training(train: Train, opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield conflicts between the options under ``train`` and other sections."""
    if train.gan_opt and not opt.get('network_d'):
        yield 'train: gan_opt needs a discriminator: add network_d to the options file.'
    elif train.gan_opt:
        yield from _conflicts_of_channels(opt['network_g'], opt['network_d'])
    if train.keep_best:
        yield from _conflicts_of_best(train.keep_best, opt.get('val') or {}, opt['logger'])


def _conflicts_of_channels(network_g: Mapping[str, Any], network_d: Mapping[str, Any]) -> Iterator[str]:
    channels = channels_of(network_g)
    taken = [network_d.get(key, 3) for key in ('num_in_ch', 'num_out_ch')]
    if channels and network_d['type'] == OUR_DISCRIMINATOR and sum(taken) != 2 * channels:
        yield (
            f'network_d judges pairs of {taken[0]} and {taken[1]} channels, but network_g takes and returns '
            f'{channels}: set network_d: num_in_ch: {channels} and num_out_ch: {channels}.'
        )


def _conflicts_of_best(metric: str, val: Mapping[str, Any], logger: Mapping[str, Any]) -> Iterator[str]:
    metrics = val.get('metrics') or {}
    if metric not in metrics:
        yield (
            f'train: keep_best: {metric} is not measured: name one of the metrics under val: metrics '
            f'({", ".join(metrics) or "there are none"}).'
        )
    elif val['val_freq'] % logger['save_checkpoint_freq']:
        yield (
            'train: keep_best: needs a checkpoint at every validation: make '
            f'val: val_freq ({val["val_freq"]:g}) a multiple of logger: save_checkpoint_freq '
            f'({logger["save_checkpoint_freq"]:g}).'
        )


def kind_of_file(opt: dict[str, Any]) -> type[OptionsFile]:
    """Return the class that declares the options of a file."""
    if not opt.get('is_train', 'train' in opt):  # the host sets is_train when it parses the options
        return TestFile
    return TrainingFile if opt.get('model_type') == OUR_MODEL else HostTrainingFile


def problems_of_file(opt: dict[str, Any]) -> list[Problem]:
    """List all problems of the options of a training or test, as written in the file."""
    kind = kind_of_file(opt)
    problems = find_problems(kind, opt)
    if opt.get('model_type') != OUR_MODEL:  # others may read other options
        problems = [problem for problem in problems if problem.stops]
    # Only arguments of networks, losses and optimisers are checked here; elsewhere such text may be a name.
    numeric = {key: value for key, value in opt.items() if key == 'train' or str(key).startswith('network_')}
    return [*dict.fromkeys([*problems, *numbers_as_text(numeric)]), *_misspelt_sections(opt, kind)]


def _misspelt_sections(opt: dict[str, Any], kind: type[OptionsFile]) -> Iterator[Problem]:
    """Find unknown sections with a name close to a known one."""
    known = kind.model_fields
    for key in opt:
        likely = did_you_mean(key, known)
        if key not in known and likely != '.' and not str(key).startswith('network_'):
            yield Problem(f'{key} is an unknown section{likely}', 'correct its name, or remove it', stops=False)
