"""FBNet (arXiv:1812.03443): 22 places with one of nine operators each, in the macro-architecture of its Table 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from predictors.encodings._arrays import chain, one_hot
from predictors.encodings._role import Encoding, Floats, Genes

OPERATORS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
_FORMS = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1), None)
"""Kernel, expansion and groups of each operator (Table 2)."""
_STAGES = ((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
"""Channels, blocks, and stride of the first one (Table 1)."""


@dataclass(frozen=True)
class Place:
    """Where a block stands: its channels, its input's pixels along each side, and its stride."""

    inputs: int
    outputs: int
    pixels: int
    stride: int
    stage: int


def _places() -> tuple[Place, ...]:
    """The searched places, behind a stem of 16 channels that halves an image of 224 x 224 pixels."""
    found, channels, pixels = [], 16, 112
    for stage, (outputs, blocks, first) in enumerate(_STAGES):
        for block in range(blocks):
            stride = first if block == 0 else 1
            found.append(Place(channels, outputs, pixels, stride, stage))
            channels, pixels = outputs, pixels // stride
    return tuple(found)


PLACES = _places()


class FBNet(Encoding):
    """Rows of the operators' numbers at the 22 places. A token is an operator at a kind of place.

    `skip` is nothing where shapes agree and a pointwise convolution where they do not, as in the authors' code.
    """

    @property
    def signature(self) -> str:
        """The same for all: the space is fixed."""
        return "fbnet:1"

    @property
    def sizes(self) -> Genes:
        """Nine operators at each place."""
        return np.full(len(PLACES), len(OPERATORS), dtype=np.int64)

    @property
    def vocabulary(self) -> int:
        """Different operators at different kinds of places."""
        return int(self._numbers.max()) + 1

    def features(self, matrix: Genes) -> npt.NDArray[np.float32]:
        """The operator at each place, how many of each a stage has, and log(1 + amount) of physics in all."""
        options = one_hot(matrix, self.sizes)
        logs = np.log1p(self.physics(matrix) / self._scale)
        return np.concatenate([options, options @ self._stages, logs.astype(np.float32)], axis=1)

    def physics(self, matrix: Genes) -> Floats:
        """Sums over blocks of MACs, depthwise MACs, activation bytes, parameters and kernels."""
        return np.asarray(one_hot(matrix, self.sizes) @ self._scaled, dtype=float) * self._scale

    def tokens(self, matrix: Genes) -> Genes:
        """The operator at each place, -1 for a `skip` that is nothing."""
        return self._numbers[np.arange(len(PLACES)), matrix]

    def edges(self, matrix: Genes) -> npt.NDArray[np.bool_]:
        """Each block reads the one before it."""
        return chain(self.tokens(matrix))

    @cached_property
    def _numbers(self) -> Genes:
        """[places, operators] -> token."""
        known: dict[object, int] = {}
        rows = [[(place, form) for form in _FORMS] for place in PLACES]
        absent = {(place, None) for place in PLACES if _is_identity(place)}
        return np.array(
            [[-1 if entry in absent else known.setdefault(entry, len(known)) for entry in row] for row in rows],
            dtype=np.int64,
        )

    @cached_property
    def _amounts(self) -> Floats:
        """[places x operators, p]."""
        return np.array([_amounts(place, form) for place in PLACES for form in _FORMS])

    @cached_property
    def _scale(self) -> Floats:
        found: Floats = self._amounts.max(axis=0)
        return found

    @cached_property
    def _scaled(self) -> npt.NDArray[np.float32]:
        return (self._amounts / self._scale).astype(np.float32)

    @cached_property
    def _stages(self) -> npt.NDArray[np.float32]:
        """[places x operators, stages x operators]: which stage's operator an indicator counts for."""
        of = [place.stage * len(OPERATORS) + option for place in PLACES for option in range(len(OPERATORS))]
        return np.eye(len(_STAGES) * len(OPERATORS), dtype=np.float32)[of]


def _is_identity(place: Place) -> bool:
    """Whether nothing has to be done to skip this place."""
    return place.stride == 1 and place.inputs == place.outputs


def _amounts(place: Place, form: tuple[int, int, int] | None) -> list[float]:
    """MACs, depthwise MACs, activation bytes, parameters, kernels of an inverted bottleneck, or of what skips one."""
    before, after = place.pixels**2, (place.pixels // place.stride) ** 2
    if form is None:
        weights = 0 if _is_identity(place) else place.inputs * place.outputs
        return [weights * after, 0, 4 * place.outputs * after if weights else 0, weights, 2 if weights else 0]
    kernel, expansion, groups = form
    width = place.inputs * expansion
    expand, project = place.inputs * width // groups, width * place.outputs // groups
    depthwise = width * kernel**2
    macs = expand * before + (depthwise + project) * after
    written = 4 * (2 * width * before + 2 * width * after + place.outputs * after * (2 if _is_identity(place) else 1))
    kernels = 5 + (2 if groups > 1 else 0) + (1 if _is_identity(place) else 0)
    return [macs, depthwise * after, written, expand + depthwise + project, kernels]
