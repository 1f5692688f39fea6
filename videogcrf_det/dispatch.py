"""Tools that do the same for several meta-architectures, each with options of its own."""

import argparse
import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from detectron2.config import CfgNode

from videogcrf_det.errors import InputError

DETECTORS = "detectors"  # meta-architectures that nothing was registered for

Function = Callable[..., Any]
# of add_argument, by the flag
Options = Mapping[str, Mapping[str, Any]]


class _Entry(NamedTuple):
    run: Function
    options: Options


class ByArchitecture:
    """The functions of a tool, by the meta-architecture of the config that it is given.

    Projects register what is to be done with their own when they are imported.

    Args:
        modules: that register when they are imported, which they are once they are needed.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._registered: dict[str, _Entry] = {}

    @property
    def _entries(self) -> dict[str, _Entry]:
        for module in self._modules:
            importlib.import_module(module)
        return self._registered

    def register(self, architecture: str, options: Options) -> Callable[[Function], Function]:
        """Decorate the function for a meta-architecture, or for all DETECTORS.

        Args:
            architecture: its name in META_ARCH_REGISTRY.
            options: what the tool takes for it alone, as arguments of ``add_argument`` by flag. The
                function gets them by name.
        """

        def add(run: Function) -> Function:
            self._registered[architecture] = _Entry(run, options)
            return run

        return add

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of all, each in a group of its own."""
        for name, entry in self._entries.items():
            group = parser.add_argument_group(f"for {name}")
            for flag, settings in entry.options.items():
                group.add_argument(flag, **settings)

    def of(self, cfg: CfgNode) -> Function:
        """The function for a config."""
        return self._entries[self._name(cfg)].run

    def given(self, args: argparse.Namespace, cfg: CfgNode) -> dict[str, Any]:
        """The options that the function for a config has of its own, by name.

        Raises:
            InputError: an option was given that is for another meta-architecture.
        """
        values = vars(args)
        own = {_dest(*option) for option in self._entries[self._name(cfg)].options.items()}
        for name, entry in self._entries.items():
            for flag, settings in entry.options.items():
                dest = _dest(flag, settings)
                if dest not in own and values[dest] != settings.get("default"):
                    raise InputError(
                        f"{flag} is for {name}, and MODEL.META_ARCHITECTURE is "
                        f"{cfg.MODEL.META_ARCHITECTURE}: leave it out"
                    )
        return {dest: values[dest] for dest in own}

    def _name(self, cfg: CfgNode) -> str:
        name = str(cfg.MODEL.META_ARCHITECTURE)
        return name if name in self._entries else DETECTORS


def _dest(flag: str, settings: Mapping[str, Any]) -> str:
    return settings.get("dest", flag.removeprefix("--").replace("-", "_"))
