"""The discrete Fourier transform of real images as products of real matrices.

Complex numbers have no form in ONNX; products with cosine and sine matrices need none.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

Spectrum = tuple[Float[Tensor, "*b u v"], Float[Tensor, "*b u v"]]
"""Real and imaginary part, by vertical and horizontal frequency."""


class FourierTransform(nn.Module):
    """Orthonormal transform of [.. h w] to the half spectrum of a real image, and back.

    X[u, v] = sum x[m, n] exp(-2 pi i (u m / h + v n / w)) / sqrt(h w). Vertical frequencies u go from -floor(h / 2) up,
    horizontal ones v from 0 to floor(w / 2); with `below`, only those of both that are smaller in magnitude are there.
    """

    columns_cos: Tensor
    columns_sin: Tensor
    rows_cos: Tensor
    rows_sin: Tensor
    weights: Tensor

    def __init__(self, height: int, width: int, below: int | None = None) -> None:
        super().__init__()
        bound = height + width if below is None else below
        horizontal = torch.arange(min(width // 2, bound - 1) + 1)
        vertical = torch.arange(max(-(height // 2), 1 - bound), min((height - 1) // 2, bound - 1) + 1)
        dtype = torch.get_default_dtype()
        for axis, frequencies, size in (("columns", horizontal, width), ("rows", vertical, height)):
            angles = torch.outer(frequencies, torch.arange(size)).remainder(size).double() * (2 * math.pi / size)
            self.register_buffer(f"{axis}_cos", (angles.cos() / math.sqrt(size)).to(dtype), persistent=False)
            self.register_buffer(f"{axis}_sin", (angles.sin() / math.sqrt(size)).to(dtype), persistent=False)
        self.register_buffer("weights", 2.0 - (2 * horizontal % width == 0).to(dtype), persistent=False)

    def forward(self, x: Float[Tensor, "*b h w"]) -> Spectrum:
        """Real and imaginary part of the spectrum."""
        cos, sin = x @ self.columns_cos.T, x @ self.columns_sin.T
        return self.rows_cos @ cos - self.rows_sin @ sin, -(self.rows_cos @ sin) - self.rows_sin @ cos

    def inverse(self, real: Float[Tensor, "*b u v"], imaginary: Float[Tensor, "*b u v"]) -> Float[Tensor, "*b h w"]:
        """Real image of a half spectrum: frequencies that stand for their conjugates too count twice."""
        cos = (self.rows_cos.T @ real - self.rows_sin.T @ imaginary) * self.weights
        sin = (self.rows_sin.T @ real + self.rows_cos.T @ imaginary) * self.weights
        return cos @ self.columns_cos - sin @ self.columns_sin
