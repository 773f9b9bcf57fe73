"""scikit-learn's handwritten digits."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from pydantic import Field

from nas.data._role import DataError, Dataset, Splits
from nas.data._split import Labelled


class Digits(Dataset):
    """1,797 handwritten digits of 8 x 8 pixels in 17 shades, shipped with scikit-learn.

    Part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998).
    """

    test: float = Field(0.2, strict=True, gt=0, le=0.4, description="fraction of the images that is reported on")

    def load(self) -> Splits:
        """Read the installed copy."""
        table = np.loadtxt(_installed(), delimiter=",", dtype=np.int64)
        pool = Labelled(table[:, :-1].reshape(-1, 1, 8, 8).astype(np.uint8), table[:, -1])
        return self.split(pool, self.test, tuple("0123456789"), scale=1 / 16, source="digits")


def _installed() -> Path:
    """The file within scikit-learn, which is not imported: that takes longer than to read it.

    Raises:
        DataError: scikit-learn is not installed, or without its data.
    """
    found = find_spec("sklearn")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    raise DataError("the digits come with scikit-learn, which is not here with its data; pip install scikit-learn")
