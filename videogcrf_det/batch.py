"""Many videos, shared among processes and machines: videogcrf process-videos.

Processes need nothing of one another: each takes the next video that is neither done nor another
one's, which a lock on a file tells. The lock of a process that dies goes with it, and another one
takes its video over.
"""

import contextlib
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import portalocker
import torch
from detectron2.config import CfgNode
from torch import multiprocessing

from videogcrf_det.cli import quieten
from videogcrf_det.demo import categories_of, coco_results, confident_cfg, predictor_of
from videogcrf_det.demo_loop import Predictor, changed_cfg, predict_in_step
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.video import open_video
from videogcrf_det.video.find import find_videos

SUMMARY = "summary.json"
OPTIONS = "options.json"
MOST_DEATHS = 3  # of processes at a video, which is then left alone
PATIENCE = 1  # seconds between looks at videos that others are at
COUNTED = ("frames", "detections", "tracks", "seconds")

Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A video to process.

    Attributes:
        name: unlike those of all others; may begin with folders.
        path: of the video.
        output: the folder of all results.
    """

    name: str
    path: str
    output: str

    @property
    def detections(self) -> Path:
        """The path of its detections."""
        return Path(self.output, "detections", f"{self.name}.json")

    @property
    def record_file(self) -> Path:
        """The path of the note that it is done, written after its detections."""
        return Path(self.output, "records", f"{self.name}.json")

    @property
    def record(self) -> Record | None:
        """The content of that note; None: it is not done."""
        try:
            return json.loads(self.record_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise InputError(
                f"{self.record_file} is damaged: remove it, and the video is done again"
            ) from None

    def finish(self, status: str, **values: Any) -> None:
        """Write the record down."""
        record = {"video": self.path, "status": status, **values}
        with atomic_write(self.record_file) as path:
            path.write_text(json.dumps(record, indent=1), encoding="utf-8")

    @contextlib.contextmanager
    def claimed(self) -> Iterator[IO[Any] | None]:
        """Keep other processes from this video in the ``with`` block.

        Yields:
            the file whose lock does that; None: another process is at it.
        """
        path = self.record_file.with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = portalocker.Lock(path, "a+", timeout=0, fail_when_locked=True)
        try:
            claim = lock.acquire()
        except portalocker.AlreadyLocked:
            yield None
            return
        except portalocker.LockException as error:
            raise InputError(
                f"{path} cannot be locked ({error}): put --output on a disk that knows locks"
            ) from None
        try:
            yield claim
        finally:
            lock.release()


def process_videos(
    cfg: CfgNode,
    videos: Sequence[str],
    output: str | Path,
    *,
    processes: int = 1,
    machines: int = 1,
    machine: int = 0,
    confidence_threshold: float = 0.5,
    longest_gap: int = 0,
) -> None:
    """Detect and follow instances in many videos.

    ``output`` gets ``detections/NAME.json`` of each video, as the demo's ``--json`` has them, and
    ``summary.json``. What is done there is left out, and processes of any number, started here or
    by other calls that share the folder, never do a video twice. Under torchrun, its processes are
    those that share.

    Args:
        cfg: of a detector, with trained weights in MODEL.WEIGHTS.
        videos: see find_videos. NAME is the name of a file, below a folder its path in there.
        output: a folder. One that has results of another config is refused.
        processes: each on a GPU of its own, where there are GPUs.
        machines, machine: with disks of their own, how many there are, and which one this is.
        confidence_threshold, longest_gap: see run_demo.

    Raises:
        InputError: an option is of no use, a process did not come to its end with all videos done,
            or some videos failed, which the others were not kept from by.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    _check(cfg, processes, machines, machine, world)
    cfg = confident_cfg(cfg, confidence_threshold, longest_gap)
    jobs = find_jobs(videos, output)[machine::machines]
    _check_options(cfg, longest_gap, Path(output, OPTIONS))
    for job in jobs:
        if (job.record or {}).get("status") == "failed":
            job.record_file.unlink(missing_ok=True)
    try:
        if processes == 1:
            local = int(os.environ.get("LOCAL_RANK", 0))
            _work(jobs, rank / world, cfg, longest_gap, local if world > 1 else None)
        else:
            _share(jobs, cfg, longest_gap, processes)
    finally:
        records = write_summary(jobs, Path(output, SUMMARY))
    failed = [record for record in records if record["status"] == "failed"]
    if failed:
        first = f"{failed[0]['video']}: {failed[0]['reason']}"
        raise InputError(
            f"{len(failed)} of {len(jobs)} videos failed, the first of them {first} (all are in "
            f"{Path(output, SUMMARY)})"
        )


def _check(cfg: CfgNode, processes: int, machines: int, machine: int, world: int) -> None:
    if processes < 1:
        raise InputError(f"--num-gpus must be at least 1, got {processes}")
    if not 0 <= machine < machines:
        raise InputError(f"--machine-rank must be from 0 to {machines - 1}, got {machine}")
    if world > 1 and processes > 1:
        raise InputError("torchrun starts the processes: leave --num-gpus out")
    there = torch.cuda.device_count()
    if cfg.MODEL.DEVICE.startswith("cuda") and processes > there:
        raise InputError(f"--num-gpus is {processes}, and there are {there}")


def find_jobs(videos: Sequence[str], output: str | Path) -> list[Job]:
    """The jobs of videos.

    Raises:
        InputError: two have the same name, or a name stands for nothing.
    """
    jobs: dict[str, Job] = {}
    for given in videos:
        for path in find_videos([given]):
            inside = path.is_relative_to(given) and path != Path(given)
            name = path.relative_to(given).as_posix() if inside else path.resolve().name
            job = jobs.setdefault(name, Job(name, str(path), str(output)))
            if not Path(job.path).samefile(path):
                raise InputError(
                    f"--videos names two videos called {name}, {job.path} and {path}: name a "
                    "folder that has both"
                )
    return list(jobs.values())


def _check_options(cfg: CfgNode, longest_gap: int, path: Path) -> None:
    """Write down what results are made with, or raise InputError if there are others."""
    config = changed_cfg(cfg, "OUTPUT_DIR", "", "MODEL.DEVICE", "").dump().splitlines()
    options = {"config": config, "fill_gaps": longest_gap}
    if not path.is_file():
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(options, indent=1), encoding="utf-8")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if before != options:
        other = [line.strip() for line in config if line not in before["config"]]
        what = ", ".join(other[:3]) or f"--fill-gaps {longest_gap}"
        raise InputError(
            f"{path.parent} has results of other options (now there is {what}): name another "
            "--output"
        )


# ---- processes -----------------------------------------------------------------------------------


def _share(jobs: Sequence[Job], cfg: CfgNode, longest_gap: int, processes: int) -> None:
    """Have processes do the jobs. Those that end early are not waited for: others go on."""
    context = multiprocessing.get_context("spawn")
    started, ends = [], []
    for rank in range(processes):
        receive, send = context.Pipe(duplex=False)
        words = (rank, processes, jobs, cfg, longest_gap, send)
        started.append(context.Process(target=_process, args=words, daemon=True))
        started[-1].start()
        send.close()
        ends.append(receive)
    try:
        for process in started:
            process.join()
    finally:
        for process in started:
            process.terminate()
    sentences = [sentence for sentence in map(_last_words, ends) if sentence]
    if sentences:
        raise InputError(sentences[0])
    missing = sum(job.record is None for job in jobs)
    codes = [process.exitcode for process in started if process.exitcode]
    if missing:
        raise InputError(
            f"the processes ended early (exit codes {', '.join(map(str, codes))}), and {missing} "
            f"of {len(jobs)} videos are not done: start the same again, and it goes on"
        )
    for code in codes:
        print(f"a process ended early (exit code {code}), and others did its videos")


def _process(
    rank: int,
    processes: int,
    jobs: Sequence[Job],
    cfg: CfgNode,
    longest_gap: int,
    connection: Connection,
) -> None:
    """The work of each process; its InputError goes to the one that started it."""
    quieten()
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    try:
        _work(jobs, rank / processes, cfg, longest_gap, rank)
    except InputError as error:
        connection.send(str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _last_words(connection: Connection) -> str | None:
    with contextlib.suppress(EOFError, OSError):
        return connection.recv() if connection.poll() else None
    return None


def _work(
    jobs: Sequence[Job], begin: float, cfg: CfgNode, longest_gap: int, gpu: int | None
) -> None:
    """Do jobs until all are done, by this process or by others.

    Args:
        begin: where in the list, from 0 to 1.
        gpu: which one to use, where there are several.
    """
    if gpu is not None and cfg.MODEL.DEVICE == "cuda":
        torch.cuda.set_device(gpu)
    first = int(begin * len(jobs))
    pending = [*jobs[first:], *jobs[:first]]
    predictor = cache(lambda: predictor_of(cfg, longest_gap))  # not made where all is done
    while pending:
        others = []
        for job in pending:
            if job.record is not None:
                continue
            with job.claimed() as claim:
                if claim is None:
                    others.append(job)
                elif job.record is None:
                    _do(job, claim, predictor, cfg)
        pending = others
        if pending:
            time.sleep(PATIENCE)


# ---- videos --------------------------------------------------------------------------------------


def _do(job: Job, claim: IO[Any], predictor: Callable[[], Predictor], cfg: CfgNode) -> None:
    """Process a video, and write down how that went."""
    predict = predictor()
    claim.seek(0)
    deaths = len(claim.read())
    claim.write("+")
    claim.flush()
    try:
        if deaths >= MOST_DEATHS:
            raise InputError(f"{deaths} processes were killed while they were at it")
        values = detect_to_file(job, predict, categories_of(cfg))
        job.finish("part" if "reason" in values else "done", **values)
    except InputError as error:
        job.finish("failed", reason=str(error))
    except Exception as error:  # which must not keep the other videos from being done
        traceback.print_exc()
        job.finish("failed", reason=f"{type(error).__name__}: {' '.join(str(error).split())}")
    finally:
        claim.truncate(0)  # a process that is killed does not come here
    record = job.record or {}
    said = [record["status"], *(f"{record[name]} {name}" for name in COUNTED if name in record)]
    print(f"{job.name}: {', '.join(said)}", flush=True)


def detect_to_file(job: Job, predict: Predictor, categories: Sequence[tuple[int, str]]) -> Record:
    """Write the detections of a video.

    Returns:
        frames, detections, tracks and seconds, and the reason if only a part could be read.

    Raises:
        InputError: there are no frames.
    """
    begin = time.perf_counter()
    video = open_video(job.path)
    frames, detections, tracks = 0, 0, set()
    with coco_results(categories, job.detections) as add:
        for frame, found in predict_in_step(video, [predict]):
            add(frames, frame.time, found)
            frames += 1
            detections += len(found[0])
            tracks.update(found[0].track_ids.tolist())
        if not frames:
            raise InputError(video.damage or f"there are no frames in {job.path}")
    values: Record = {"frames": frames, "detections": detections, "tracks": len(tracks)}
    values["seconds"] = round(time.perf_counter() - begin, 3)
    return {**values, **({"reason": video.damage} if video.damage else {})}


def write_summary(jobs: Sequence[Job], path: Path) -> list[Record]:
    """Write the records of all videos and their sums.

    Returns:
        the records; those of videos that are not done have the status "missing".
    """
    records = [job.record or {"video": job.path, "status": "missing"} for job in jobs]
    sums = {key: round(sum(each.get(key, 0) for each in records), 3) for key in COUNTED}
    with atomic_write(path) as temporary:
        content = json.dumps({**sums, "videos": records}, indent=1)
        temporary.write_text(content, encoding="utf-8")
    print(f"wrote {path}: " + ", ".join(f"{value} {key}" for key, value in sums.items()))
    return records
