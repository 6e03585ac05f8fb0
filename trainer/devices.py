"""The device, the number of threads and the arithmetic of a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from trainer.errors import OutOfMemory, TrainerError
from trainer.processes import ALONE, Processes


def open_device(name: str, threads: int, processes: Processes = ALONE) -> torch.device:
    """The device called `auto`, `cpu`, `cuda` or `cuda:N`; sets the CPU threads of this process.

    Of several processes on a machine each takes the GPU of its local rank. Raises TrainerError
    when there is no such device, or one for several."""
    torch.set_num_threads(threads)
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdecimal())):
        raise TrainerError(f"no device {name!r}; there are auto, cpu, cuda and cuda:N")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not found):
        return torch.device("cpu")
    if not found:
        raise TrainerError('no CUDA GPU here; use --preset nano, or `device = "cpu"` under [run] in --config')
    if number and processes.count > 1:
        raise TrainerError(f'{name} is one GPU for {processes.count} processes; use `device = "cuda"`')
    index = int(number) if number else processes.local_rank
    if index >= found:
        raise TrainerError(f"no GPU {index} here: there are {found}, counted from 0")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """`bfloat16` or `float32` for matrix products; `auto` is bfloat16 on a GPU and float32 on a
    CPU, where bfloat16 is no faster."""
    if precision == "bfloat16" or (precision == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


@contextmanager
def memory_errors(advice: str) -> Iterator[None]:
    """Raise OutOfMemory, with the advice, for every way in which memory runs out."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        where = "on the GPU" if isinstance(error, torch.OutOfMemoryError) else "on this machine"
        raise OutOfMemory(f"not enough memory {where}; {advice}") from error
    except RuntimeError as error:
        # PyTorch's CPU allocator has no class of its own for it.
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise OutOfMemory(f"not enough memory on this machine; {advice}") from error
