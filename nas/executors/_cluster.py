"""Cluster: the connection to Ray, and what is shared over it."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import ray

from hardware.backends._role import UnavailableError
from hardware.device import usable_processor_cores
from nas.executors._context import Context
from nas.executors._parcel import Index, packed, restored

Content = tuple[Index, npt.NDArray[np.uint8]]
"""A parcel: the index, and the bytes that hold the arrays."""
_STORE_BYTES = 128 << 20


class Shared:
    """A context in the object store of a cluster, where each machine has it once, and the connection to it.

    Raises:
        UnavailableError: no cluster answers at this address.
    """

    def __init__(self, context: Context, address: str | None, workers: int | None) -> None:
        memory = io.BytesIO()
        index = packed(context, memory)
        self._joined = join(address, workers, memory.tell())
        self.content: Any = ray.put((index, np.frombuffer(memory.getbuffer(), np.uint8)))

    def close(self) -> None:
        """Lets go of it, and of Ray where there was no connection before."""
        self.content = None
        if self._joined:
            ray.shutdown()


def received(path: list[str], content: Content) -> Context:
    """The context in a worker, whose arrays are those of the object store: they must not be written to.

    Args:
        path: where the driver finds modules.
        content: what was shared.
    """
    sys.path.extend(folder for folder in path if folder not in sys.path)
    index, memory = content
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        context: Context = restored(index, memory.data)
    return context


def join(address: str | None, workers: int | None, size: int) -> bool:
    """Connects to a cluster, or starts one on this machine; whether there was no connection before.

    Args:
        address: of the cluster; one is started if not given.
        workers: processor cores that a started one offers.
        size: bytes that it will share.

    Raises:
        UnavailableError: no cluster answers at this address.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own = {
        "num_cpus": max(1, usable_processor_cores() if workers is None else workers),
        "object_store_memory": max(_STORE_BYTES, 2 * size),
        "include_dashboard": False,
    }
    handler = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = own if address is None else {}
    try:
        with _loopback() if address is None else nullcontext():
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except ConnectionError as error:
        raise UnavailableError(
            f"no Ray cluster answers at {address}: {error}; start one with: ray start --head"
        ) from error
    finally:
        _keep(handler)
    return True


def _loopback() -> AbstractContextManager[Any]:
    """In this context Ray is started where other machines do not reach it, as it is on macOS; it has no setting."""
    return mock.patch("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)


def _keep(handler: Any) -> None:
    """Puts back what SIGTERM did before Ray took it; other threads than the main one take none."""
    try:
        signal.signal(signal.SIGTERM, handler)
    except ValueError:
        return
