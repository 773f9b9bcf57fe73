"""Checks that the tests of all data sets share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.data._images import Splits
from nas.data._role import DataError, Dataset


@pytest.fixture
def check_splits() -> Callable[[Splits], None]:
    """What holds for every data set whose images all differ."""

    def check(splits: Splits) -> None:
        parts = (splits.train, splits.validation, splits.test)
        images = [image.tobytes() for part in parts for image in part.pixels]
        assert len(set(images)) == len(images)
        judged = {image.tobytes() for part in parts[1:] for image in part.pixels}
        assert not judged & {image.tobytes() for image in splits.calibration.pixels}
        for part in (*parts, splits.calibration):
            inputs, targets = part.take(np.arange(len(part)))
            assert inputs.dtype == np.float32 and targets.dtype == np.int64
            assert inputs.shape == (len(part), *splits.shape)
            assert targets.min() >= 0 and targets.max() < splits.classes
        assert abs(float(splits.train.inputs.mean())) < 1e-5

    return check


@pytest.fixture
def refused() -> Callable[..., None]:
    """Loading fails with one message that begins with the path and holds the texts in this order."""

    def check(dataset: Dataset, path: Path, *texts: str) -> None:
        with pytest.raises(DataError) as caught:
            dataset.load()
        message = str(caught.value)
        assert message.startswith(f"{path}: "), message
        assert re.search(".*".join(map(re.escape, texts)), message), message

    return check
