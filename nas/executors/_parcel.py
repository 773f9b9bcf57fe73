"""Parcel: an object for several processes, whose arrays lie in one file that all of them map."""

from __future__ import annotations

import mmap
import pickle
import tempfile
from typing import IO, Any

ALIGNMENT = 64
"""Bytes, as torch and numpy align what they allocate: how sums are rounded can depend on it."""
Index = tuple[bytes, tuple[tuple[int, int], ...]]
"""The pickle, and the place and size of each of its buffers."""


class Parcel:
    """A pickled object in two parts: an index to send, and an open file, which has no name, to inherit.

    Raises:
        TypeError: the object cannot be pickled.
    """

    def __init__(self, value: object) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self.index = packed(value, self._file)
        self._file.flush()

    @property
    def handle(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Lets go of the file; who has mapped it keeps it."""
        self._file.close()


def packed(value: object, file: IO[bytes]) -> Index:
    """Writes the buffers of a pickled object to an empty file, each aligned; returns the index.

    Raises:
        TypeError: the object cannot be pickled.
    """
    buffers: list[pickle.PickleBuffer] = []
    data, places = pickled(value, buffers), []
    for buffer in buffers:
        file.write(bytes(-file.tell() % ALIGNMENT))
        raw = buffer.raw()
        places.append((file.tell(), raw.nbytes))
        file.write(raw)
    file.write(bytes(ALIGNMENT))
    return data, tuple(places)


def unpacked(index: Index, handle: int) -> Any:
    """The object; its arrays are shared with other processes until one of them writes to its own."""
    return restored(index, memoryview(mmap.mmap(handle, 0, access=mmap.ACCESS_COPY)))


def restored(index: Index, shared: memoryview) -> Any:
    """The object, whose arrays are places of this memory."""
    data, places = index
    return pickle.loads(data, buffers=[shared[place : place + size] for place, size in places])


def pickled(value: object, buffers: list[pickle.PickleBuffer] | None = None) -> bytes:
    """The pickle of a value.

    Raises:
        TypeError: it cannot be pickled.
    """
    try:
        return pickle.dumps(value, protocol=5, buffer_callback=None if buffers is None else buffers.append)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"cannot be sent to a worker process: {error}; define parts at the top of a module that can be imported, "
            "or set executor.workers to 1"
        ) from error
