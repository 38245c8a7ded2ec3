"""The random numbers of crossmod: Philox4x32-10 (doi:10.1145/2063384.2063405), keyed as it keys it.

Draws depend on (seed, case, step) alone, so both programs can be given the same ones.
"""

import math

import numpy as np


def case_id(name: str) -> int:
    """FNV-1a, 64 bit."""
    number = 0xCBF29CE484222325
    for byte in name.encode():
        number = (number ^ byte) * 0x100000001B3 % 2**64
    return number


class Rng:
    """The stream of (seed, case, step)."""

    def __init__(self, seed: int, case: int, step: int) -> None:
        self.key = (seed % 2**32, seed >> 32)
        self.counter = (step % 2**32, case % 2**32, case >> 32)
        self.next_block = 0
        self.words = np.empty(0, np.uint32)

    def bits(self, count: int) -> np.ndarray:
        """The next words of 32 bits."""
        missing = count - len(self.words)
        if missing > 0:
            blocks = self.next_block + np.arange(max(-(-missing // 4), 4), dtype=np.uint64)
            self.next_block += len(blocks)
            self.words = np.concatenate([self.words, self.philox(blocks)])
        taken, self.words = self.words[:count], self.words[count:]
        return taken

    def philox(self, blocks: np.ndarray) -> np.ndarray:
        low, half = np.uint64(2**32 - 1), np.uint64(32)
        rest = (np.full_like(blocks, word) for word in self.counter)
        c0, c1, c2, c3 = blocks, *rest
        for turn in range(10):
            k0 = np.uint64((self.key[0] + turn * 0x9E3779B9) % 2**32)
            k1 = np.uint64((self.key[1] + turn * 0xBB67AE85) % 2**32)
            a, b = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
            c0, c1, c2, c3 = b >> half ^ c1 ^ k0, b & low, a >> half ^ c3 ^ k1, a & low
        return np.stack([c0, c1, c2, c3], 1).astype(np.uint32).ravel()

    def units(self, count: int) -> np.ndarray:
        """Uniform in [0, 1), 24 bits."""
        return (self.bits(count) >> 8).astype(np.float32) * np.float32(2.0**-24)

    def either(self, limit: float) -> float:
        """Uniform in [-limit, limit); draws nothing where that is 0."""
        return float(2 * limit * self.units(1)[0] - limit) if limit > 0 else 0.0

    def below(self, n: int) -> int:
        high, low = map(int, self.bits(2))
        return (high << 32 | low) * n >> 64

    def normals(self, count: int) -> np.ndarray:
        """Box–Muller, one of each pair."""
        first, second = self.units(2 * count).reshape(-1, 2).T
        return np.sqrt(-2 * np.log(1 - first)) * np.cos(np.float32(2 * math.pi) * second)
