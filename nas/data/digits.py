"""scikit-learn's handwritten digits."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from nas.data._role import Dataset, Splits
from nas.data._split import Labelled


class Digits(Dataset):
    """1,797 handwritten digits of 8 x 8 pixels in 17 shades, shipped with scikit-learn.

    Part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998).
    """

    test: float = Field(0.2, strict=True, gt=0, le=0.4, description="fraction of the images that is reported on")

    def load(self) -> Splits:
        """Read the installed copy."""
        from sklearn.datasets import load_digits

        images, targets = load_digits().images, load_digits().target
        pool = Labelled(images[:, None].astype(np.uint8), targets.astype(np.int64))
        return self.split(pool, self.test, tuple("0123456789"), scale=1 / 16, source="digits")
