"""What a workaround of the host is, and the two ways in which it changes the host.

Nothing of the host's source is changed: functions of its modules and classes are wrapped in this process.
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
    """One defect of the host and what the plugin does about it.

    Attributes:
        name: of the function that makes the change.
        defect: what the host does, as the table in docs/host.md says it.
        fix: what the plugin does instead, as the table in docs/host.md says it.
        apply: makes the change in all modules imported so far; a second call changes only what is not changed yet.
        applies: returns whether the defect matters on this machine.
    """

    name: str
    defect: str
    fix: str
    apply: Callable[[], None]
    applies: Callable[[], bool]

    def wrap(self, owner: Any, attribute: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace a function of the host by what ``wrapper`` makes of it, once.

        Args:
            owner: the module or class that holds it.
            attribute: its name there.
            wrapper: takes the function and returns the one that replaces it.
        """
        original = getattr(owner, attribute)
        if self in workarounds_of(original):
            return
        replacement: Any = functools.wraps(original)(wrapper(original))
        replacement.workarounds = (*workarounds_of(original), self)
        setattr(owner, attribute, replacement)


def workarounds_of(function: Callable[..., Any]) -> tuple[Workaround, ...]:
    """Return the workarounds that a function of the host was wrapped by, the first one first."""
    found: tuple[Workaround, ...] = getattr(function, 'workarounds', ())
    return found


def workaround(
    defect: str, fix: str, applies: Callable[[], bool] = lambda: True
) -> Callable[[Callable[[], None]], Workaround]:
    """Make a :class:`Workaround` of the decorated function, under the function's name."""

    def make(apply: Callable[[], None]) -> Workaround:
        return Workaround(apply.__name__, defect, fix, apply, applies)

    return make


def own_module(user: ModuleType, attribute: str) -> ModuleType:
    """Give a module of the host a copy of a module that it imports, so that a change there affects no other module.

    Args:
        user: the host's module.
        attribute: the name under which it imports the other one.

    Returns:
        The copy; a second call returns the same one.
    """
    imported: ModuleType = getattr(user, attribute)
    if imported is sys.modules[imported.__name__]:
        copy = ModuleType(imported.__name__, inspect.getdoc(imported))
        copy.__dict__.update(vars(imported))
        setattr(user, attribute, copy)
    return getattr(user, attribute)


def training_modules() -> list[ModuleType]:
    """Return the host's module of the training under each name it has: run as a script, it is also ``__main__``."""
    return _modules_with('train_pipeline')


def testing_modules() -> list[ModuleType]:
    """Return the host's module of the testing under each name it has: run as a script, it is also ``__main__``."""
    return _modules_with('test_pipeline')


def _modules_with(pipeline: str) -> list[ModuleType]:
    modules = [sys.modules.get(name) for name in ('__main__', 'basicsr.train', 'basicsr.test')]
    return [module for module in modules if module and hasattr(module, pipeline) and hasattr(module, 'make_exp_dirs')]
