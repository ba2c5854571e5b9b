"""Patch embedding: maps square patches of images linearly to tokens, also in batches of mixed orientation."""

from torch import Tensor, nn

from dynamic_predictor.networks.rotary import grid_positions


class PatchEmbedding(nn.Module):
    """Maps square patches of `patch_size` pixels with `channels` values to tokens of `width` features, in reading
    order."""

    def __init__(self, patch_size: int, width: int, channels: int = 3) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(channels, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor, is_transposed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, width) of images (B, channels, H, W), and their positions (row, column), (B or 1, N, 2).

        `is_transposed` (B,) bool marks portrait images that are stored transposed in a landscape batch; their tokens
        and positions are in the order of the upright image. Raises `ValueError` if patches do not fit the sides.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"images of {width}x{height} do not divide into patches of {self.patch_size} pixels")
        rows, columns = height // self.patch_size, width // self.patch_size
        positions = grid_positions(rows, columns, images.device)[None]
        if is_transposed is None or not bool(is_transposed.any()):
            return self.proj(images).flatten(2).transpose(1, 2), positions
        upright = ~is_transposed
        transposed_tokens = self.proj(images[is_transposed].transpose(-1, -2)).flatten(2).transpose(1, 2)
        tokens = transposed_tokens.new_empty((len(images), *transposed_tokens.shape[1:]))
        tokens[is_transposed] = transposed_tokens
        tokens[upright] = self.proj(images[upright]).flatten(2).transpose(1, 2)
        positions = positions.repeat(len(images), 1, 1)
        positions[is_transposed] = grid_positions(columns, rows, images.device)
        return tokens, positions
