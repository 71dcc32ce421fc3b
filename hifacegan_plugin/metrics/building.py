"""Build metrics from a section of an options file, and find problems in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY

from hifacegan_plugin.metrics.catalogue import FID, METRICS
from hifacegan_plugin.metrics.fid import inception_features
from hifacegan_plugin.metrics.metric import FOR_THE_METRIC, IMAGES, FrechetInceptionDistance, ImageMetric, Metric
from hifacegan_plugin.metrics.region import MASK, WITHIN, measure_within, problem_of_region
from hifacegan_plugin.schema.problem import OptionError, Problem, raise_first
from hifacegan_plugin.schema.registered import problems_of_call, registered_names

SUPPLIED = (*IMAGES, MASK)  # arguments of a metric's function that no option sets


def build_metrics(section: Mapping[str, Mapping[str, Any]] | None) -> list[Metric]:
    """Build the metrics under ``val: metrics``.

    Raises:
        OptionError: see :func:`build_metric`.
    """
    return [build_metric(name, options) for name, options in (section or {}).items()]


def build_metric(name: str, options: Mapping[str, Any], where: str = 'val: metrics') -> Metric:
    """Build a metric of an options file.

    Args:
        name: of the metric.
        options: of the metric.
        where: the section that they stand in.

    Raises:
        OptionError: the metric is unknown, lacks an option or does not take one; its direction is stated wrongly.
    """
    where = f'{where}: {name}'
    raise_first(problems_of_metric(where, options))
    kind, region = options['type'], options.get('region')
    try:
        function = metric_functions()[kind] if region is None else measure_within(kind, region)
        return (FrechetInceptionDistance if kind == FID else ImageMetric)(name, function, options)
    except ValueError as error:
        raise OptionError(f'{where}: {error}') from error


def problems_of_metric(where: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """Find a metric that does not exist or has no such region, and options that are missing, unknown or mistyped."""
    known = metric_functions()
    if not isinstance(options, Mapping) or not isinstance(options.get('type'), str):
        yield from problems_of_call(where, options, known)
        return
    kind, region = options['type'], options.get('region')
    call = {'type': kind} | {key: value for key, value in options.items() if key not in FOR_THE_METRIC}
    if region is None or kind not in known:
        yield from problems_of_call(where, call, known, SUPPLIED, makes_use_of_any=kind not in METRICS)
    elif problem := problem_of_region(where, kind, region):
        yield problem
    else:
        yield from problems_of_call(where, call, WITHIN, SUPPLIED)


def metric_functions() -> dict[str, Callable[..., Any]]:
    """Return what ``type`` of a metric may be, and the function whose arguments are its options."""
    return {**registered_names(METRIC_REGISTRY), FID: inception_features}
