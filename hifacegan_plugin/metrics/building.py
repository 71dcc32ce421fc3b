"""Build metrics from options, and check these options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY

from hifacegan_plugin.metrics.catalogue import FID, METRICS
from hifacegan_plugin.metrics.fid import inception_features
from hifacegan_plugin.metrics.metric import IMAGES, METRIC_OPTIONS, FrechetInceptionDistance, ImageMetric, Metric
from hifacegan_plugin.metrics.region import MASK, REGION_METRICS, problem_of_region, region_metric
from hifacegan_plugin.schema.problem import OptionError, Problem, raise_first
from hifacegan_plugin.schema.registered import problems_of_call, registered_names

SUPPLIED = (*IMAGES, MASK)  # arguments of a metric's function that are not options


def build_metrics(section: Mapping[str, Mapping[str, Any]] | None) -> list[Metric]:
    """Build the metrics under ``val: metrics``.

    Raises:
        OptionError: see :func:`build_metric`.
    """
    return [build_metric(name, options) for name, options in (section or {}).items()]


def build_metric(name: str, options: Mapping[str, Any], where: str = 'val: metrics') -> Metric:
    """Build a metric from its options.

    Args:
        name: name of the metric in the options file.
        options: ``type`` and the arguments of its function, perhaps ``region`` and ``better``.
        where: section of the options file, for messages.

    Raises:
        OptionError: the metric is unknown, an option is missing, unknown or mistyped, or ``better`` is wrong.
    """
    where = f'{where}: {name}'
    raise_first(problems_of_metric(where, options))
    kind, region = options['type'], options.get('region')
    try:
        function = metric_functions()[kind] if region is None else region_metric(kind, region)
        return (FrechetInceptionDistance if kind == FID else ImageMetric)(name, function, options)
    except ValueError as error:
        raise OptionError(f'{where}: {error}') from error


def problems_of_metric(where: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """Find an unknown metric or region, and options that are missing, unknown or mistyped."""
    known = metric_functions()
    if not isinstance(options, Mapping) or not isinstance(options.get('type'), str):
        yield from problems_of_call(where, options, known)
        return
    kind, region = options['type'], options.get('region')
    call = {'type': kind} | {key: value for key, value in options.items() if key not in METRIC_OPTIONS}
    if region is None or kind not in known:
        yield from problems_of_call(where, call, known, SUPPLIED, makes_use_of_any=kind not in METRICS)
    elif problem := problem_of_region(where, kind, region):
        yield problem
    else:
        yield from problems_of_call(where, call, REGION_METRICS, SUPPLIED)


def metric_functions() -> dict[str, Callable[..., Any]]:
    """Return the functions of all metrics by the values of ``type``; their arguments are the options."""
    return {**registered_names(METRIC_REGISTRY), FID: inception_features}
