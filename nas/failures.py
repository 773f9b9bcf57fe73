"""Which failure ends the process with which exit code.

0 success, 1 failure, 2 usage or configuration, 3 nothing feasible, 4 resume refused, 130 and 143 signals. Any other
exception is a fault of this program and keeps its traceback.
"""

from __future__ import annotations

CODES = {
    "nas.config.ConfigurationError": 2,
    "searchspaces.faults.DescriptionError": 2,
    "nas.yaml_source.YamlError": 2,
    "nas.data._images.DataError": 2,
    "nas.folders.RunFolderError": 2,
    "nas.strategies._optuna.OptunaMissingError": 2,
    "searchspaces.pretrained.PretrainedError": 2,
    "nas.problem.InfeasibleError": 3,
    "nas.archive.ResumeRefused": 4,
    "nas.archive.ArchiveError": 1,
    "nas.training._role.CheckpointError": 1,
    "nas.training._group.GroupError": 1,
    "nas.export._role.ExportError": 1,
    "hardware.backends._role.UnavailableError": 2,
    "hardware.agent.secret.SecretError": 2,
    "predictors._file.PredictorFileError": 2,
    "hardware.store.StoreError": 1,
    "hardware.measurement.MeasurementError": 1,
    "builtins.OSError": 1,
}
"""Failures that a user can mend, by name: importing them would cost seconds, and `descriptions_only` has its own."""


def exit_code(error: Exception) -> int | None:
    """The exit code for a failure whose message is all that a user needs; None for any other."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((CODES[name] for name in names if name in CODES), None)
