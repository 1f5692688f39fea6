"""Training batches that depend on the seed and the iteration alone."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetFromList
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from videogcrf_det.errors import InputError

Record = dict[str, Any]
Draw = tuple[int, int]  # position in the stream of clips, index of the clip


class ClipLoader:
    """An endless stream of batches. Batch ``k`` is the same whichever batches came before it.

    So a training that goes on at iteration ``start`` sees what it would have seen without the
    interruption. Random augmentations are part of it: they are drawn with a seed of the clip's
    position in the stream, in whichever process that reads the clip.

    Attributes:
        start: the batch that an iteration over the loader begins with.
    """

    def __init__(
        self,
        clips: Sequence[Record],
        mapper: Callable[[Record], Any],
        *,
        batch_size: int,
        seed: int,
        start: int = 0,
        num_workers: int = 0,
        aspect_ratio_grouping: bool = True,
    ) -> None:
        self.start = start
        self.num_workers = num_workers
        self._dataset = _SeededDataset(clips, mapper, seed)
        group = [clip["width"] > clip["height"] and aspect_ratio_grouping for clip in clips]
        self._batches = _Batches(group, batch_size, seed)

    def __iter__(self) -> Iterator[list[Any]]:
        # a generator, so that `start` is read when the first batch is asked for
        yield from DataLoader(
            self._dataset,
            batch_sampler=itertools.islice(self._batches, self.start, None),
            num_workers=self.num_workers,
            collate_fn=list,
            generator=torch.Generator(),  # else it would draw from the trainer's
        )


class _Batches(Sampler[list[Draw]]):
    """This process's share of the batches: random permutations of all clips, one after another,
    dealt out to the processes, and collected into batches of one group each."""

    def __init__(self, group: list[bool], batch_size: int, seed: int) -> None:
        self.group = group
        self.batch_size = batch_size
        self.seed = seed

    def __iter__(self) -> Iterator[list[Draw]]:
        waiting: dict[bool, list[Draw]] = {False: [], True: []}
        for position, index in self._share():
            batch = waiting[self.group[index]]
            batch.append((position, index))
            if len(batch) == self.batch_size:
                yield batch.copy()
                batch.clear()

    def _share(self) -> Iterator[Draw]:
        rank, processes, size = comm.get_rank(), comm.get_world_size(), len(self.group)
        for epoch in itertools.count():
            order = np.random.default_rng([self.seed, epoch]).permutation(size)
            for position, index in enumerate(order.tolist(), start=epoch * size):
                if position % processes == rank:
                    yield position, index


class _SeededDataset(Dataset[Any]):
    """Clips, mapped with random numbers that depend on the seed and the position alone."""

    def __init__(self, clips: Sequence[Record], mapper: Callable[[Record], Any], seed: int) -> None:
        self.clips = DatasetFromList(list(clips), copy=False)
        self.mapper = mapper
        self.seed = seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> Any:
        position, index = draw
        # detectron2's augmentations draw from numpy's global generator, torchvision's from torch's
        state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        seeds = np.random.SeedSequence([self.seed, position]).generate_state(3).tolist()
        random.seed(seeds[0])
        np.random.seed(seeds[1])  # noqa: NPY002
        torch.default_generator.manual_seed(seeds[2])  # torch.manual_seed would seed GPUs as well
        try:
            return self.mapper(self.clips[index])
        finally:
            random.setstate(state[0])
            np.random.set_state(state[1])  # noqa: NPY002
            torch.set_rng_state(state[2])


def build_clip_train_loader(
    clips: Sequence[Record],
    mapper: Callable[[Record], Any],
    *,
    clips_per_batch: int,
    seed: int = -1,
    start: int = 0,
    num_workers: int = 0,
    aspect_ratio_grouping: bool = True,
) -> ClipLoader:
    """The training batches of this process.

    Args:
        clips: as load_clips gives them.
        mapper: makes an element of a batch from a clip.
        clips_per_batch: clips of an iteration, in all processes together.
        seed: below 0: another one every time.
        start: the iteration to begin with.
        num_workers: processes that read clips; 0: this one does.
        aspect_ratio_grouping: no batch has both upright and other clips, which saves padding.

    Raises:
        InputError: the processes cannot share the batch evenly.
    """
    processes = comm.get_world_size()
    if clips_per_batch < 1 or clips_per_batch % processes:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH {clips_per_batch} is not a multiple of the {processes} "
            "processes that share its clips: change it or --num-gpus"
        )
    return ClipLoader(
        clips,
        mapper,
        batch_size=clips_per_batch // processes,
        seed=comm.shared_random_seed() if seed < 0 else seed,
        start=start,
        num_workers=num_workers,
        aspect_ratio_grouping=aspect_ratio_grouping,
    )
