"""Workarounds for defects of the host: how to declare one, and how it patches the host.

It wraps functions of the host's modules and classes in this process. The host's files are not changed.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True, eq=False)
class Workaround:
    """One defect of the host and its fix.

    Attributes:
        name: name of the function ``apply``.
        defect: what the host does wrong, as in the table of docs/host.md.
        fix: what the plugin does about it, as in the same table.
        apply: patches all modules of the host imported so far; a second call patches only new ones.
        applies: returns whether this machine has the defect.
    """

    name: str
    defect: str
    fix: str
    apply: Callable[[], None]
    applies: Callable[[], bool]

    def wrap(self, owner: Any, attribute: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace a function of the host by ``wrapper(function)``, unless this workaround has already done so.

        Args:
            owner: module or class that defines the function.
            attribute: name of the function.
            wrapper: takes the function and returns its replacement.
        """
        original = getattr(owner, attribute)
        if self in workarounds_of(original):
            return
        replacement: Any = functools.wraps(original)(wrapper(original))
        replacement.workarounds = (*workarounds_of(original), self)
        setattr(owner, attribute, replacement)


def workarounds_of(function: Callable[..., Any]) -> tuple[Workaround, ...]:
    """Return the workarounds that wrap a function of the host, innermost first."""
    found: tuple[Workaround, ...] = getattr(function, 'workarounds', ())
    return found


def workaround(
    defect: str, fix: str, applies: Callable[[], bool] = lambda: True
) -> Callable[[Callable[[], None]], Workaround]:
    """Turn the decorated function into a :class:`Workaround` of the same name."""

    def make(apply: Callable[[], None]) -> Workaround:
        return Workaround(apply.__name__, defect, fix, apply, applies)

    return make


def private_copy(user: ModuleType, attribute: str) -> ModuleType:
    """Give a module of the host its own copy of a module that it imports, to be patched without affecting others.

    Args:
        user: the host's module.
        attribute: name under which it imports the other module.

    Returns:
        The copy; the same one if called again.
    """
    imported: ModuleType = getattr(user, attribute)
    if imported is sys.modules[imported.__name__]:
        copy = ModuleType(imported.__name__, inspect.getdoc(imported))
        copy.__dict__.update(vars(imported))
        setattr(user, attribute, copy)
    return getattr(user, attribute)


def training_modules() -> list[ModuleType]:
    """Return the host's training module under each of its names: run as a script, it is also ``__main__``."""
    return _modules_with('train_pipeline')


def testing_modules() -> list[ModuleType]:
    """Return the host's test module under each of its names: run as a script, it is also ``__main__``."""
    return _modules_with('test_pipeline')


def _modules_with(pipeline: str) -> list[ModuleType]:
    modules = [sys.modules.get(name) for name in ('__main__', 'basicsr.train', 'basicsr.test')]
    return [module for module in modules if module and hasattr(module, pipeline) and hasattr(module, 'make_exp_dirs')]
