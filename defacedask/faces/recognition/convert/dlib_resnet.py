"""dlib's face network (a residual network of 29 layers; King, dlib.net, 2017) as ONNX.

dlib's wheels come without a fast matrix product: there the network takes 75 ms of a core, as ONNX 6 ms. Its numbers
agree to 4e-7 a component, 1e-6 as a distance, but not to the last bit.

dlib's file holds each layer's numbers in the order of the picture's way: a convolution's weights and bias, then the
factors and offsets of its normalisation. What lies between them is dlib's own bookkeeping, which nothing here needs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from defacedask.errors import InputError
from defacedask.faces.recognition.convert.graph import Graph

__all__ = ["SIZE", "convert_dlib_resnet"]

#: Rows and columns of the picture that it sees.
SIZE = 150
#: Means of red, green and blue, and what is divided by.
_MEANS, _SCALE = (122.782, 117.001, 104.298), 256.0
#: Channels, blocks, and whether the first of them halves the picture; from the picture on.
_LEVELS = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
#: Numbers of the answer.
_LENGTH = 128


def convert_dlib_resnet(content: bytes) -> bytes:
    """Convert the file ``dlib_face_recognition_resnet_model_v1.dat``.

    Parameters
    ----------
    content : bytes
        Of the file.

    Returns
    -------
    bytes
        Of an ONNX file: (N, 150, 150, 3) RGB, 0..255, to (N, 128).

    Raises
    ------
    InputError
        If the file holds another network.
    MissingExtraError
        Without the package ``onnx``.
    """
    graph, numbers = Graph("dlib_face_recognition_resnet_model_v1"), _Numbers(content)
    graph.input("picture", (SIZE, SIZE, 3))
    value = graph.add("Sub", ["picture", graph.constant(np.array(_MEANS, np.float32))])
    value = graph.add("Div", [value, graph.constant(np.float32(_SCALE))])
    value = graph.add("Transpose", [value], perm=[0, 3, 1, 2])
    value = graph.add("Relu", [_convolved(graph, numbers, value, (32, 3, 7), 2, 0)])
    value = graph.add("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2])
    size, channels = 35, 32
    for wide, halves in _blocks():
        first = _convolved(graph, numbers, value, (wide, channels, 3), 2 if halves else 1, 0 if halves else 1)
        made = _convolved(graph, numbers, graph.add("Relu", [first]), (wide, wide, 3), 1, 1)
        if halves:
            value = graph.add("AveragePool", [value], kernel_shape=[2, 2], strides=[2, 2])
            sizes = (size - 3) // 2 + 1, size // 2
            size = max(sizes)
            # dlib adds pictures of unlike sizes as if the smaller one went on with zeros
            made = _grown(graph, made, 0, size - sizes[0])
            value = _grown(graph, value, wide - channels, size - sizes[1])
        value = graph.add("Relu", [graph.add("Add", [made, value])])
        channels = wide
    value = graph.add("Flatten", [graph.add("GlobalAveragePool", [value])])
    last = numbers.next(channels, _LENGTH).reshape(channels, _LENGTH)
    value = graph.add("MatMul", [value, graph.constant(last)])
    return graph.encoded([value])


def _blocks() -> Iterator[tuple[int, bool]]:
    for wide, count, halves in _LEVELS:
        for number in range(count):
            yield wide, halves and number == 0


def _convolved(
    graph: Graph, numbers: _Numbers, value: str, shape: tuple[int, int, int], stride: int, padding: int
) -> str:
    """A convolution with its normalisation, which is a part of its weights."""
    wide, channels, edge = shape
    own = numbers.next(wide * channels * edge * edge + wide, 1).astype(np.float64)
    factors, offsets = numbers.next(2 * wide, 1).astype(np.float64).reshape(2, wide)
    weights = own[:-wide].reshape(wide, channels, edge, edge) * factors[:, None, None, None]
    inputs = [value, graph.constant(weights.astype(np.float32))]
    inputs.append(graph.constant((own[-wide:] * factors + offsets).astype(np.float32)))
    return graph.add("Conv", inputs, strides=[stride, stride], pads=[padding] * 4)


def _grown(graph: Graph, value: str, channels: int, size: int) -> str:
    if not channels and not size:
        return value
    ends = np.array([0, 0, 0, 0, 0, channels, size, size], np.int64)
    return graph.add("Pad", [value, graph.constant(ends)])


class _Numbers:
    """Tensors of a file of dlib's, one after the other, each known by its shape."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def next(self, samples: int, k: int) -> np.ndarray:
        """The next tensor of (samples, k, 1, 1) numbers."""
        # a number is the count of its bytes and these, lowest first; a tensor begins with its format, which is 2
        mark = b"".join(_packed(n) for n in (2, samples, k, 1, 1))
        at = self._content.find(mark, self._at)
        begin = at + len(mark)
        self._at = begin + 4 * samples * k
        if at < 0 or self._at > len(self._content):
            raise InputError(
                "the file of dlib's face network holds another network than the one that is known."
            )
        return np.frombuffer(self._content, "<f4", samples * k, begin)


def _packed(number: int) -> bytes:
    length = max(1, (number.bit_length() + 7) // 8)
    return bytes([length]) + number.to_bytes(length, "little")
