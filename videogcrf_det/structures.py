"""The annotations of a frame, in training."""

from typing import Any

from detectron2.structures import BitMasks, Instances


class AnnotatedInstances(Instances):
    """Annotated instances of a frame, with the regions of it that count neither for nor against.

    The stock parts of detectron2 see instances and nothing else. Regions stay with the frame, not
    with its instances: a selection of instances is a plain Instances again.

    Attributes:
        ignore_regions: (R, H, W) do-not-care masks, none of them empty.
    """

    def __init__(
        self, image_size: tuple[int, int], ignore_regions: BitMasks, **fields: Any
    ) -> None:
        super().__init__(image_size, **fields)
        self._ignore_regions = ignore_regions

    @property
    def ignore_regions(self) -> BitMasks:
        return self._ignore_regions

    def to(self, *args: Any, **kwargs: Any) -> "AnnotatedInstances":
        """Instances and regions on another device; see Instances."""
        fields = super().to(*args, **kwargs).get_fields()
        regions = self._ignore_regions.to(*args, **kwargs)
        return AnnotatedInstances(self.image_size, regions, **fields)
