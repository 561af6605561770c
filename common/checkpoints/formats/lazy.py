"""A tensor that is still in its file: porting looks at shapes first and reads one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

SPARE = 2**26  # bytes; the largest tensor of L2 has 30 MB


def check_expansion(name: str, size: int, stored: int) -> None:
    """Refuse values that are many more than what a file keeps of them.

    Compression makes a gigabyte of zeros a megabyte, and what reads it would need the gigabyte.

    Raises:
        ValueError: they are.
    """
    if size > stored + SPARE:
        raise ValueError(f"{name} has {size:,} bytes, of which the file keeps only {stored:,}")


@dataclass(frozen=True)
class LazyTensor:
    """What a file says of a tensor, and how to read it.

    A shape is believed only once a network asks for it: what fits none is never read, however
    large it claims to be.
    """

    key: str  # in the file
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @classmethod
    def of(cls, key: str, array: np.ndarray) -> LazyTensor:
        """A tensor that is in memory already."""
        return cls(key, array.shape, array.dtype, lambda: array)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """The values, wherever NumPy wants an array."""
        return np.asarray(self.read(), dtype)

    @property
    def is_float(self) -> bool:
        """Whether it can be a weight; NumPy does not count bfloat16, which it lacks, as one."""
        return self.dtype.kind == "f" or self.dtype == ml_dtypes.bfloat16

    def transposed(self, axes: Sequence[int]) -> LazyTensor:
        """The same with its axes in another order."""
        shape = tuple(self.shape[axis] for axis in axes)
        return replace(self, shape=shape, read=lambda: self.read().transpose(axes))

    def reshaped(self, shape: tuple[int, ...]) -> LazyTensor:
        """The same values in another shape."""
        return replace(self, shape=shape, read=lambda: self.read().reshape(shape))

    def astype(self, dtype: str) -> LazyTensor:
        """The same in another type."""
        return replace(self, dtype=np.dtype(dtype), read=lambda: self.read().astype(dtype))
