"""Trains a space in double precision and writes the weights: `python -m tests.nas.training.together FILE POLICY`.

Under torchrun all processes train together. The space holds all that looks at a whole batch: batch normalization,
losses of modules, and observed ranges where POLICY is `integer`. Rounding to a grid turns differences of the last bit
into whole steps of the grid, so there it is two steps (the last has rate zero), two epochs else.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from nas.data.digits import Digits
from nas.progress import LineProgress
from nas.tasks import _loaded
from nas.tasks.classification import Classification
from nas.training._fit import Fit
from nas.training._group import joined
from nas.training._role import Trainee
from nas.training.sandwich import Sandwich
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import choice, space

NETWORK = {
    "kind": "metaformer",
    "stem": {"patch": 2, "width": 6},
    "stages": [
        {
            "depth": choice(1, 2),
            "width": choice(6, 8),
            "block": {
                "mixer": {"kind": "depthwise", "kernel": choice(3, 5)},
                "channel_mixer": choice({"kind": "mlp", "ratio": 2.0}, {"kind": "block_ffn", "experts": 4, "chunk": 4}),
                "norm": "batch",
                "quantization": {"kind": sys.argv[2]},
            },
        }
    ],
}
SETTINGS = {
    "none": Sandwich(epochs=2, batch_size=256, random=2),
    "integer": Sandwich(epochs=2, batch_size=1024, random=2),
}


def main(file: Path) -> None:
    """Trains, and writes weights and losses."""
    torch.set_default_dtype(torch.float64)
    tensors = _loaded._tensors
    _loaded._tensors = lambda batch: (tensors(batch)[0].double(), tensors(batch)[1])  # type: ignore[assignment]
    task = Classification(data=Digits()).load()
    torch.manual_seed(1)
    placements = Placements(space(NETWORK, Signature(*task.signature())))
    trainee = Trainee(Supernet(placements), placements, task)
    with joined() as group:
        fit = Fit(SETTINGS[sys.argv[2]], trainee, 5, group=group)
        fit.run(LineProgress(io.StringIO()))
        if group.rank == 0:
            weights = {name: parameter.detach() for name, parameter in trainee.supernet.named_parameters()}
            save_file({**weights, "losses": torch.tensor(fit.history)}, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
