"""Fields for the detector that is there: their file, and which detector it is for."""

import hashlib
import json
import math
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.gcrf.chain_field import ChainField, Described, described
from videogcrf_det.gcrf.embedding import LOG_CONFIDENCE
from videogcrf_det.steady.picture import PictureBranch

FORMAT = "videogcrf-det fields 2"
# variances at first, of confidences of 1, which links can outweigh: (0.13)^2
LOG_UNIT = -4.0


class Fields(nn.Module):
    """A description of a video's frames: trust in each, and couplings to the next.

    Attributes:
        motion: along what links lead; see motion_from.
    """

    motion: str = ""

    def describe(self, features: Mapping[str, Tensor], pictures: Tensor) -> dict[str, Described]:
        """Embeddings and confidences of M frames, for each of the features that are coupled.

        Args:
            features: maps (M, C, h, w) by name.
            pictures: (M, 3, H, W), BGR from 0 to 1, with the padding of the model's images.
        """
        raise NotImplementedError

    def check(self, model: nn.Module) -> None:
        """Raise InputError unless the fields can be used with this model.

        These can with any that has a backbone with named features.
        """
        channels_of(model)


class SteadyFields(Fields):
    """Fields that were fitted to one detector: a chain field for each of its features.

    Args:
        channels: C of the features that are coupled, by name; of maps with a description, that of
            the features in it.
        description: names of maps that are coupled by what other features say of them, and the
            names of those features. A last layer is such a map, and of it the variance is given
            as well; see stream.py.
        options: keyword arguments of ChainField.
        fingerprint: of the backbone that they were fitted to; see ``fingerprint``.
        source: names the detector: ``config_file``, ``weights``, ``opts``.
        picture: options of a PictureBranch, whose maps are added to those of the chain fields; None
            for none.

    Attributes:
        log_units: logarithms of what variances are multiplied with, by name: chains know them up to
            a factor alone.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        fingerprint: str = "",
        source: Mapping[str, Any] | None = None,
        description: Mapping[str, str] | None = None,
        picture: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.channels = dict(channels)
        self.description = dict(description or {})
        self.log_units = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(LOG_UNIT)) for name in self.description}
        )
        self.fingerprint = fingerprint
        self.source = dict(source or {})
        self.options = options
        self._levels = nn.ModuleDict(
            {name: ChainField(number, **options) for name, number in channels.items()}
        )
        self.picture = None if picture is None else PictureBranch(**picture)

    @classmethod
    def for_model(
        cls, model: nn.Module, start: PictureBranch | None = None, **options: Any
    ) -> "SteadyFields":
        """New fields for all features of a model's backbone.

        A model with a ``description``, as SteadyFields take it, has those maps coupled alone.

        Args:
            start: whose maps they begin with; see ReadyMade.

        Raises:
            InputError: the model has no backbone with named features.
        """
        channels, description = channels_of(model), getattr(model, "description", {})
        if description:
            channels = {name: channels[source] for name, source in description.items()}
        named = channels, fingerprint(model.get_submodule("backbone")), None, description
        if start is None:
            return cls(*named, **options)
        fields = cls(*named, start.options, dim=start.options["dim"], **options)
        assert fields.picture is not None
        fields.picture.load_state_dict(start.state_dict())
        for name in fields:
            for parameter in fields[name].branch.embed.parameters():
                nn.init.zeros_(parameter)
        return fields

    @classmethod
    def moving_average(cls, model: nn.Module, share: float) -> "SteadyFields":
        """Fields that trust all frames alike: an exponential moving average, for comparison.

        Args:
            model: see for_model.
            share: of the newest frame at latency 0, from 0 to 1, once the video has begun.

        Raises:
            InputError: ``share`` is out of range, or the model has no features.
        """
        if not 0 < share < 1:
            raise InputError(f"--moving-average must be between 0 and 1, got {share}")
        fields = cls.for_model(model, num_convs=0)
        precision = share / (1 - share)  # where c + p w / (p + w) with w = 1 leads to c / p = share
        for name in fields:
            trust = math.log(share * precision) / LOG_CONFIDENCE
            if abs(trust) >= 1:
                raise InputError(f"--moving-average {share} is too near to 0 or 1: give 0.2 to 0.8")
            for parameter in fields[name].branch.parameters():
                nn.init.zeros_(parameter)
            bias = fields[name].branch.embed.bias
            assert bias is not None
            nn.init.constant_(bias[-1:], LOG_CONFIDENCE * math.atanh(trust))
        return fields

    def __iter__(self) -> Iterator[str]:
        return iter(self.channels)

    def __getitem__(self, name: str) -> ChainField:
        field = self._levels[name]
        assert isinstance(field, ChainField)
        return field

    def describe(self, features: Mapping[str, Tensor], pictures: Tensor) -> dict[str, Described]:
        """See Fields."""
        sources = {name: features[self.description.get(name, name)] for name in self}
        maps = {name: self[name](values) for name, values in sources.items()}
        if self.picture is not None:
            seen = self.picture(pictures, {name: features[name] for name in self})
            maps = {name: own + seen[name] for name, own in maps.items()}
        result = {}
        for name, own in maps.items():
            result[name] = described(own)
            refinement = self[name].refinement
            if refinement is not None:
                change = refinement(features[name].float(), result[name].confidence)
                result[name] = result[name]._replace(change=change)
            if name in self.log_units:
                result[name] = result[name]._replace(unit=self.log_units[name].exp())
        return result

    def check(self, model: nn.Module) -> None:
        """Raise InputError unless the fields were fitted to this model."""
        shapes, architecture = channels_of(model), type(model).__name__
        sources = {name: self.description.get(name, name) for name in self}
        differing = [name for name in self if shapes.get(sources[name]) != self.channels[name]]
        if differing:
            raise InputError(
                f"the fields are for features {_listed(self.channels)}, the backbone of "
                f"{architecture} gives {_listed(shapes)}: fit fields to this detector "
                "(videogcrf fit)"
            )
        if self.fingerprint != fingerprint(model.get_submodule("backbone")):
            raise InputError(
                f"the fields were fitted to a detector with other weights than this "
                f"{architecture}: load the weights that they were fitted to, or fit them anew "
                "(videogcrf fit)"
            )

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        content = {
            "format": FORMAT,
            "channels": self.channels,
            "description": self.description,
            "options": self.options,
            "fingerprint": self.fingerprint,
            "source": self.source,
            "motion": self.motion,
            "picture": None if self.picture is None else self.picture.options,
            "weights": {name: value.cpu() for name, value in self.state_dict().items()},
        }
        with atomic_write(path) as temporary:
            torch.save(content, temporary)

    @classmethod
    def load(cls, path: str | Path) -> "SteadyFields":
        """Read a file that ``save`` wrote; no code in it is run.

        Raises:
            InputError: it is not there, or is none.
        """
        if not Path(path).is_file():
            raise InputError(f"there are no fields at {path}: make them with videogcrf fit")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            named = (content[k] for k in ("fingerprint", "source", "description", "picture"))
            fields = cls(content["channels"], *named, **content["options"])
            fields.motion = content["motion"]
            fields.load_state_dict(content["weights"])
        except (
            *(OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError),
            pickle.UnpicklingError,
        ) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{path} holds no fields of this version ({reason}): make them anew with "
                "videogcrf fit"
            ) from None
        return fields


def fingerprint(backbone: nn.Module) -> str:
    """A SHA-256 of a backbone's weights, whatever their device."""
    digest = hashlib.sha256()
    state = backbone.state_dict()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def channels_of(model: nn.Module) -> dict[str, int]:
    """Channels of the features of a model's backbone, by name.

    Raises:
        InputError: the model has no backbone with named features.
    """
    backbone: Any = getattr(model, "backbone", None)
    try:
        shapes = {name: shape.channels for name, shape in backbone.output_shape().items()}
    except AttributeError:
        shapes = {}
    if not shapes or not all(shapes.values()):
        raise InputError(
            f"{type(model).__name__} has no backbone with named features (model.backbone, a "
            "detectron2 Backbone), and fields couple those: use another meta-architecture"
        )
    return shapes


def _listed(channels: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in channels.items())
