"""The tensors of a weights file put into the network of its shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from trainer.weights import WeightsError

Network = TypeVar("Network", bound=nn.Module)


def restored(make: Callable[[], Network], layers: int, arrays: dict[str, NDArray[Any]]) -> Network:
    """The network that `make` makes, with these values, in float32 on the CPU, ready to score.

    Raises WeightsError when the tensors are not the network's."""
    try:
        if layers > len(arrays):
            raise ValueError(f"{layers} layers in {len(arrays)} tensors")
        with torch.device("meta"), _NoValues():  # shapes alone: a wrong one allocates nothing
            expected = {name: tuple(value.shape) for name, value in make().state_dict().items()}
        found = {name: array.shape for name, array in arrays.items()}
        wrong = [name for name in expected | found if expected.get(name) != found.get(name)]
        if wrong:
            raise ValueError(f"{wrong[0]} is {found.get(wrong[0])}, not {expected.get(wrong[0])}")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"not the tensors of a model of its shape: {error}") from error
    model = make()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model.eval()


class _NoValues(TorchFunctionMode):
    """Tensors get no values. On the meta device they have none anyway, and to give them none torch loads its
    compiler, which takes a second."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is nn.init.normal_:
            return kwargs["tensor"]
        return kwargs["out"] if "out" in kwargs else function(*args, **kwargs)
