"""Register the plugin with the host, and apply the workarounds for defects of the host."""

from __future__ import annotations

from hifacegan_plugin.host import datasets, loggers, no_gpu, options, prefetching, sampling, signals, starting
from hifacegan_plugin.host.workaround import Workaround

# If several wrap the same function of the host, the last one is outermost and runs first: check_the_options_first
# before lock_the_experiment; and TensorBoard's folder gets its new path before a failed start could restore its name.
WORKAROUNDS: tuple[Workaround, ...] = (
    options.read_lists_of_roots_and_refuse_numbers,
    options.read_numbers_after_force_yml,
    options.allow_debugging_without_validation,
    datasets.share_databases,
    datasets.decode_only_still_images,
    sampling.pass_epochs_to_datasets,
    sampling.resume_within_the_epoch,
    sampling.train_to_the_last_iteration,
    signals.handle_signals_only_in_training,
    prefetching.ignore_persistent_workers_without_workers,
    prefetching.register_in_every_worker,
    prefetching.prefetch_in_one_thread,
    prefetching.silence_runpy_in_workers,
    starting.make_no_folder_for_empty_paths,
    starting.restore_the_folder_of_a_failed_start,
    starting.seed_with_the_forced_seed,
    loggers.keep_tensorboard_out_of_site_packages,
    loggers.survive_a_full_disk,
    loggers.generate_wandb_ids,
    no_gpu.launch_processes_without_gpu,
    no_gpu.wrap_networks_without_gpu,
    no_gpu.resume_without_gpu,
    starting.lock_the_experiment,
    starting.check_the_options_first,
    starting.resume_from_the_experiment,
)


def register() -> None:
    """Register the plugin's classes and functions with the host, and apply the workarounds. Can be called again.

    Raises:
        ImportError: the host is missing, or does not work with this torchvision.
    """
    _import_host()
    from basicsr.utils.registry import (
        ARCH_REGISTRY,
        DATASET_REGISTRY,
        LOSS_REGISTRY,
        METRIC_REGISTRY,
        MODEL_REGISTRY,
    )

    from hifacegan_plugin import archs, data, losses, metrics, models

    for package, registry in (
        (archs, ARCH_REGISTRY),
        (data, DATASET_REGISTRY),
        (losses, LOSS_REGISTRY),
        (metrics, METRIC_REGISTRY),
        (models, MODEL_REGISTRY),
    ):
        for name in package.__all__:
            if name not in registry:
                registry.register(getattr(package, name))
    apply_workarounds()


def apply_workarounds() -> None:
    """Apply every workaround that this machine needs; functions that are already wrapped do not change."""
    for workaround in WORKAROUNDS:
        if workaround.applies():
            workaround.apply()


def _import_host() -> None:
    try:
        import basicsr  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name == 'basicsr':
            fix = 'pip install basicsr-fixed'
        elif error.name == 'torchvision.transforms.functional_tensor':
            fix = (
                'this release of basicsr breaks with torchvision >= 0.17: pip uninstall basicsr, then pip install '
                '--force-reinstall basicsr-fixed (the same package with the import fixed)'
            )
        else:
            raise
        raise ImportError(f'The host BasicSR cannot be imported ({error}): {fix}.') from error
