"""Mixers: the part of a block in which the positions of one sequence exchange information.

Position-wise layers see one position at a time, so a network reads order and context by its mixers alone:

    class Mine(Mixer, name="mine"):             # registers it: model.encoder.mixer.type=mine
        def __init__(self, size, causal, ...): ...
        def forward(self, x, mask): ...         # an encoder's: each position sees the whole sequence
        def start(self, like): ...              # a decoder's: what is stored before the first position
        def extend(self, x, rows): ...          # further positions, each sees itself and those before it

`s2s.check_mixer(Mine)` checks one. In training a decoder extends by all positions in one call. A decoder-only model
reads the source as a `prefix`, which follows from `start` and `extend`; the built-in mixers have faster ones.

Letters: B sentences, N hypotheses, T time, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.errors import S2SError
from s2s.nn.cells import CELLS
from s2s.nn.multi_head import KeysValues, MultiHeadAttention, attention_bias
from s2s.nn.positions import CosSin, rotary_positions, sinusoidal_positions
from s2s.nn.recurrent import RecurrentLayer, RecurrentStack
from s2s.registry import Registry
from s2s.schema import PositiveInt, build

Rows = dict[str, Tensor]  # (N, …) by name
Kind = Literal["recurrence", "self-attention", "convolution", "other"]


class Mixer(nn.Module):
    """Base class of mixers, (B, T, D) -> (B, T, D).

    Args:
        size: D.
        causal: whether a decoder uses it (`start` and `extend`), or an encoder (`forward`).

    Attributes:
        kind: how information travels between positions; figures group systems by it.
        takes_lengths: whether `forward` has a third argument, see `s2s.models.interface.Encoder`.
        full_prefix: whether `prefix` takes `full`: each position sees the whole prefix.
    """

    kind: ClassVar[Kind] = "other"
    takes_lengths: ClassVar[bool] = False
    full_prefix: ClassVar[bool] = False

    def __init_subclass__(cls, name: str | None = None) -> None:
        super().__init_subclass__()
        if name is not None:
            MIXERS.register(name, cls)

    def __init__(self, size: int, causal: bool) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) True at real tokens, which come first -> (B, T, D); outputs at padding are ignored."""
        raise NotImplementedError

    def start(self, like: Tensor) -> Rows:
        """The rows before the first position, one for each of those of `like` (N, …), on its device."""
        raise NotImplementedError

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        """(N, T, D) further positions, T >= 1, and the rows -> (N, T, D), new rows; the old ones stay as they are."""
        raise NotImplementedError

    def prefix(self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> tuple[Tensor, Rows]:
        """First positions of sequences of different lengths, causally.

        Args:
            x: (N, T, D).
            mask: (N, T) True at real tokens, one or more, which come first.
            lengths: their numbers, if known on the CPU.

        Returns:
            (N, T, D), to be ignored at padding; the rows after the real tokens of each.
        """
        rows, outputs = self.start(x), []
        for position, real in zip(x.split(1, dim=1), mask.unbind(1), strict=True):  # type: ignore[no-untyped-call]
            output, new = self.extend(position, rows)
            for name, row in rows.items():
                if new[name].shape != row.shape:
                    raise S2SError(
                        f"the rows of mixer {type(self).__name__} grow with the sequence: it needs a method `prefix` "
                        "of its own"
                    )
                new[name] = torch.where(real.view(-1, *[1] * (row.dim() - 1)), new[name], row)
            rows = new
            outputs.append(output)
        return torch.cat(outputs, dim=1), rows


MIXERS = Registry("mixer", Mixer)


class SelfAttention(Mixer, name="self_attention"):
    """Multi-head self-attention (Vaswani et al. 2017): each position takes a weighted mean of all it sees.

    Rows: keys (rotated) and values of the positions so far, (N, heads, past, D / heads). After a prefix also which of
    them are real, (N, past), and their number (N, 1, 1).

    Args:
        rotary: rotate queries and keys (`s2s.nn.positions`).
    """

    kind = "self-attention"
    full_prefix = True

    def __init__(self, size: int, causal: bool, *, heads: PositiveInt, rotary: bool = False) -> None:
        super().__init__(size, causal)
        self.attention = MultiHeadAttention(size, heads)
        self.rotated_width = size // heads if rotary else 0
        if self.rotated_width % 2:
            raise S2SError(
                f"config: positions=rotary rotates pairs, and model.embedding_size={size} / heads={heads} is odd; "
                "change one of them, or use positions=sinusoidal"
            )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        cos_sin = self._cos_sin(0, x)
        memory = self.attention.keys_values(x, cos_sin)
        return self.attention(x, memory, attention_bias(mask[:, None, None, :], x), cos_sin)  # type: ignore[no-any-return]

    def start(self, like: Tensor) -> Rows:
        heads = self.attention.heads
        empty = like.new_empty(like.size(0), heads, 0, self.attention.query.in_features // heads)
        return {"key": empty, "value": empty}

    def prefix(
        self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None, full: bool = False
    ) -> tuple[Tensor, Rows]:
        cos_sin = self._cos_sin(0, x)
        memory = self.attention.keys_values(x, cos_sin)
        seen = mask[:, None, None, :]
        if not full:
            seen = seen & torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).tril()
        rows = {"key": memory.keys, "value": memory.values, "real": mask, "length": mask.sum(1).view(-1, 1, 1)}
        return self.attention(x, memory, attention_bias(seen, x), cos_sin), rows

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        memory, bias, cos_sin, rows = self._past_and_new(x, rows)
        return self.attention(x, memory, bias, cos_sin), rows

    def weights(self, x: Tensor, rows: Rows) -> Tensor:
        """The weights (N, heads, T, past + T) in `extend`, for inspection."""
        memory, bias, cos_sin, _ = self._past_and_new(x, rows)
        return self.attention.weights(x, memory, bias, cos_sin)

    def _past_and_new(self, x: Tensor, rows: Rows) -> tuple[KeysValues, Tensor | None, CosSin | None, Rows]:
        """Keys and values of all positions, the bias on the scores, the rotation of the new ones, the new rows."""
        past, time = rows["key"].size(2), x.size(1)
        cos_sin = self._cos_sin(rows.get("length", past), x)
        memory = self.attention.keys_values(x, cos_sin)
        if past:
            memory = KeysValues(
                torch.cat([rows["key"], memory.keys], dim=2), torch.cat([rows["value"], memory.values], dim=2)
            )
        seen = None
        if time > 1:
            seen = torch.ones(1, 1, time, past + time, dtype=torch.bool, device=x.device).tril(past)
        new = {"key": memory.keys, "value": memory.values}
        if "real" in rows:
            new["real"] = F.pad(rows["real"], (0, time), value=True)
            new["length"] = rows["length"] + time
            real = new["real"][:, None, None, :]
            seen = real if seen is None else real & seen
        return memory, None if seen is None else attention_bias(seen, x), cos_sin, new

    def _cos_sin(self, past: int | Tensor, x: Tensor) -> CosSin | None:
        return rotary_positions(past, x.size(1), self.rotated_width, x) if self.rotated_width else None


class Recurrent(Mixer, name="recurrent"):
    """A recurrent layer of any cell; in an encoder one in each direction, their outputs concatenated.

    Rows: the states of the cell, (N, hidden).

    Args:
        hidden_size: of each direction; by default D in a decoder, D / 2 in an encoder. Outputs that are not D wide in
            all are projected.
    """

    kind = "recurrence"
    takes_lengths = True

    def __init__(
        self,
        size: int,
        causal: bool,
        *,
        cell: str,
        cell_options: Mapping[str, Any] | None = None,
        hidden_size: PositiveInt | None = None,
    ) -> None:
        super().__init__(size, causal)
        directions = 1 if causal else 2
        sizes = {"input_size": size, "hidden_size": hidden_size or -(-size // directions)}
        cells = [build(CELLS.find(cell), {**sizes, **(cell_options or {})}) for _ in range(directions)]
        self.stack = RecurrentStack([[RecurrentLayer(c, reverse=n == 1) for n, c in enumerate(cells)]], 0.0)
        self.output: nn.Module = nn.Identity()
        if self.stack.output_size != size:
            self.output = nn.Linear(self.stack.output_size, size)
            nn.init.xavier_uniform_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        return self.output(self.stack(x, mask, lengths=lengths)[0])  # type: ignore[no-any-return]

    def start(self, like: Tensor) -> Rows:
        cell = next(module for module in self.stack.modules() if isinstance(module, RecurrentLayer)).cell
        return {f"state{i}": state for i, state in enumerate(cell.initial_state(like.size(0), like))}

    def prefix(self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> tuple[Tensor, Rows]:
        rows = self.start(x)
        outputs, (states,) = self.stack(x, mask, [tuple(rows.values())], lengths=lengths)
        return self.output(outputs), dict(zip(rows, states, strict=True))

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        outputs, (states,) = self.stack(x, None, [tuple(rows.values())])
        return self.output(outputs), dict(zip(rows, states, strict=True))


class Convolution(Mixer, name="convolution"):
    """A convolution with a gated linear unit (Gehring et al. 2017, section 3.2), v = A ⊗ σ(B), [A; B] = W window + b.

    In a decoder the window of a position ends there, in an encoder the position is its middle. A stack of n such layers
    of width k sees n (k - 1) further positions, and no others.

    Rows: the last k - 1 inputs, (N, k - 1, D), zeros before the first position.

    Args:
        kernel: k, the width of the window.
    """

    kind = "convolution"

    def __init__(self, size: int, causal: bool, *, kernel: PositiveInt = 3) -> None:
        super().__init__(size, causal)
        self.kernel, self.size = kernel, size
        self.windows = nn.Linear(kernel * size, 2 * size)
        # The gate halves the standard deviation (section 3.5 there).
        nn.init.normal_(self.windows.weight, std=(4 / (kernel * size)) ** 0.5)
        nn.init.zeros_(self.windows.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        ends = (0, 0, (self.kernel - 1) // 2, self.kernel // 2)
        return self._convolve(F.pad(x.masked_fill(~mask.unsqueeze(-1), 0.0), ends))

    def start(self, like: Tensor) -> Rows:
        return {"inputs": like.new_zeros(like.size(0), self.kernel - 1, self.size)}

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        inputs = torch.cat([rows["inputs"].to(x.dtype), x], dim=1)
        return self._convolve(inputs), {"inputs": inputs[:, x.size(1) :]}

    def prefix(self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> tuple[Tensor, Rows]:
        inputs = F.pad(x, (0, 0, self.kernel - 1, 0))
        last = mask.sum(1, keepdim=True) + torch.arange(self.kernel - 1, device=x.device)
        return self._convolve(inputs), {"inputs": inputs.gather(1, last.unsqueeze(-1).expand(-1, -1, self.size))}

    def _convolve(self, x: Tensor) -> Tensor:
        """(B, T + k - 1, D) -> (B, T, D)."""
        time = x.size(1) - self.kernel + 1
        windows = torch.cat([x[:, n : n + time] for n in range(self.kernel)], dim=-1)
        return F.glu(self.windows(windows), dim=-1)


def mix(mixer: Mixer, x: Tensor, mask: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """`mixer.forward`, with the lengths if it takes them."""
    return mixer(x, mask, lengths) if mixer.takes_lengths else mixer(x, mask)  # type: ignore[no-any-return]


class AddSinusoids(Mixer):
    """x plus sinusoidal position vectors, with the interface of a mixer.

    Rows: the number of positions so far, (N,), the same for all hypotheses; after a prefix that of each, (N, 1).
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x + sinusoidal_positions(0, x.size(1), x)

    def start(self, like: Tensor) -> Rows:
        return {"past": torch.zeros(like.size(0), dtype=torch.int64, device=like.device)}

    def prefix(self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> tuple[Tensor, Rows]:
        return self(x, mask), {"past": mask.sum(1, keepdim=True)}

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        past = rows["past"]
        positions = sinusoidal_positions(past[0] if past.dim() == 1 else past, x.size(1), x)
        return x + positions, {"past": past + x.size(1)}
