"""Which failure ends the process with which words and which exit code.

0 success, 1 failure, 2 usage or configuration, 3 nothing feasible, 4 resume refused, 130 and 143 signals. Any other
exception is a fault of this program and keeps its traceback.
"""

from __future__ import annotations


def explain(error: Exception) -> tuple[str | None, int]:
    """The message for a failure that a user can mend, and its exit code; no message for any other."""
    from hardware.measurement import MeasurementError
    from hardware.store import StoreError
    from nas.archive import ArchiveError, ResumeRefused
    from nas.config import ConfigurationError
    from nas.data._images import DataError
    from nas.export._role import ExportError
    from nas.folders import RunFolderError
    from nas.problem import InfeasibleError
    from nas.training._role import CheckpointError
    from nas.yaml_source import YamlError

    codes: list[tuple[type[Exception], int]] = [
        (ConfigurationError, 2),
        (YamlError, 2),
        (DataError, 2),
        (RunFolderError, 2),
        (InfeasibleError, 3),
        (ResumeRefused, 4),
        (ArchiveError, 1),
        (StoreError, 1),
        (MeasurementError, 1),
        (CheckpointError, 1),
        (ExportError, 1),
        (OSError, 1),
    ]
    for kind, code in codes:
        if isinstance(error, kind):
            return str(error), code
    return None, 1
