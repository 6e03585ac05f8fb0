"""The device and the number of threads of a process."""

from __future__ import annotations

import torch

from trainer.errors import TrainerError


def open_device(name: str, threads: int) -> torch.device:
    """The device called `auto`, `cpu` or `cuda`; sets the CPU threads of this process.

    Raises TrainerError when there is no such device."""
    torch.set_num_threads(threads)
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise TrainerError('no CUDA GPU here; use --preset nano, or `device = "cpu"` under [run] in --config')
    return torch.device("cuda" if found and name != "cpu" else "cpu")
