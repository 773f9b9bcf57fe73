"""Random changes of training images that keep their class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from searchspaces.part import Part

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Augmentation(Part):
    """Random shift and mirroring of training images, drawn anew for each image and epoch."""

    shift: int = Field(0, strict=True, ge=0, description="pixels at most, along each axis; the border is repeated")
    flip: bool = Field(False, strict=True, description="mirror left and right in half of the cases")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Images [b c h w], each changed by its own draw."""
        import torch

        if not self.shift and not self.flip:
            return images
        batch, channels, height, width = images.shape
        offsets = torch.randint(-self.shift, self.shift + 1, (2, batch, 1), generator=generator)
        mirrored = (torch.rand(batch, 1, generator=generator) < 0.5) & self.flip
        rows = (torch.arange(height) + offsets[0]).clamp(0, height - 1)
        columns = (torch.arange(width) + offsets[1]).clamp(0, width - 1)
        columns = torch.where(mirrored, width - 1 - columns, columns)
        image, channel = torch.arange(batch).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1)
        return images[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
