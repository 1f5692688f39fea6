"""Configs and the command line that they come from."""

import argparse
from collections.abc import Callable, Sequence

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import default_setup
from yaml import YAMLError

from videogcrf_det.config import find_config, keys_of
from videogcrf_det.config_keys import check_keys, unreadable
from videogcrf_det.data.own_data import data_options, use_own_data
from videogcrf_det.errors import InputError


def build_cfg(
    config_file: str,
    opts: Sequence[str] = (),
    add_config: Callable[[CfgNode], None] | None = None,
) -> CfgNode:
    """The frozen config of a file and of ``KEY VALUE`` pairs; on the CPU where there is no GPU.

    Args:
        config_file: YAML, by path or by name (see find_config); "" for detectron2's defaults.
        opts: keys and values, alternately.
        add_config: adds the keys that detectron2 does not have; by default those of the
            meta-architecture.
    """
    path = config_file and find_config(config_file)
    cfg = get_cfg()
    try:
        (add_config or keys_of(path, opts))(cfg)
        stock = cfg.clone()
        if path:
            cfg.merge_from_file(path)
        own_data = list(cfg.DATASETS.get("OWN", ()))
        cfg.merge_from_list(list(opts))
    except (KeyError, ValueError, AssertionError, AttributeError, OSError, YAMLError) as error:
        # yacs raises KeyError("Non-existent config key: ..."), whose str() adds quotes
        reason = " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())
        raise InputError(f"in the config {config_file or '(none)'}: {unreadable(reason)}") from None
    check_keys(cfg, stock)
    cfg.MODEL.DEVICE = available_device(cfg.MODEL.DEVICE)
    if "://" in cfg.OUTPUT_DIR:
        raise InputError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} is an address, where files cannot be renamed: name a "
            "folder, and copy it there afterwards"
        )
    use_own_data(cfg, opts, own_data)
    cfg.freeze()
    return cfg


def available_device(device: str) -> str:
    """A device, or the CPU where there is no GPU."""
    return "cpu" if device.startswith("cuda") and not torch.cuda.is_available() else device


def setup(args: argparse.Namespace) -> CfgNode:
    """The config of detectron2's command line, with its loggers, output folder and seed set up."""
    cfg = build_cfg(args.config_file, [*data_options(args), *args.opts])
    set_up_run(cfg, args)
    return cfg


def set_up_run(cfg: CfgNode, args: argparse.Namespace) -> None:
    """detectron2's default_setup, for a config that may be given by name."""
    if args.config_file:
        args.config_file = find_config(args.config_file)  # its text is logged
    default_setup(cfg, args)
