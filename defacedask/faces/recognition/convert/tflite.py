"""TensorFlow Lite files as ONNX. The file's schema is read by the package ``tflite``."""

from __future__ import annotations

from typing import Any

import numpy as np

from defacedask.errors import InputError
from defacedask.faces.recognition.convert.graph import Graph, converter_package

__all__ = ["convert_tflite"]

#: Operations of two inputs, or one, with an activation behind them at most.
_SIMPLE = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "RELU": "Relu", "ABS": "Abs"}


def convert_tflite(model: bytes, name: str) -> bytes:
    """Convert a network of floating-point numbers with one input and one output.

    Parameters
    ----------
    model : bytes
        Of the ``.tflite`` file.
    name : str
        Of the network, for error messages.

    Returns
    -------
    bytes
        Of an ONNX file; its input is (N, rows, columns, 3).

    Raises
    ------
    InputError
        If it is no such file, or holds an operation that is not known here.
    """
    schema = converter_package("tflite")
    if model[4:8] != b"TFL3":
        raise InputError(f"the network {name} is no TensorFlow Lite file.")
    return _Maker(schema, schema.Model.GetRootAs(model, 0), Graph(name)).whole()


class _Maker:
    def __init__(self, schema: Any, model: Any, graph: Graph) -> None:
        self.schema, self.model, self.graph = schema, model, graph
        self.net = model.Subgraphs(0)
        self.kinds = {
            schema.TensorType.FLOAT32: "<f4",
            schema.TensorType.FLOAT16: "<f2",
            schema.TensorType.INT32: "<i4",
            schema.TensorType.INT64: "<i8",
        }
        self.operations = _names(schema.BuiltinOperator)
        self.activations = _names(schema.ActivationFunctionType)
        self.known: dict[int, str] = {}

    def whole(self) -> bytes:
        """Convert all operations in the file's order, which is one in which they can be computed."""
        start, end = self.net.Inputs(0), self.net.Outputs(0)
        self.known[start] = f"tensor_{start}"
        self.graph.input(self.known[start], self.net.Tensors(start).ShapeAsNumpy()[1:])
        for k in range(self.net.OperatorsLength()):
            node = self.net.Operators(k)
            value = self._value(node, [int(i) for i in node.InputsAsNumpy()])
            self.known[node.Outputs(0)] = value
        return self.graph.encoded([self.known[end]])

    def _value(self, node: Any, inputs: list[int]) -> str:
        code = self.model.OperatorCodes(node.OpcodeIndex())
        # old files hold the code in a byte, new ones in a number beside it
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = self.operations.get(number, f"number {number}")
        graph = self.graph
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return self._convolution(kind, node, inputs)
        if kind in _SIMPLE:
            value = graph.add(_SIMPLE[kind], [self.tensor(i) for i in inputs])
            if kind not in ("ADD", "SUB", "MUL"):
                return value
            return self._activated(value, self._options(node, f"{kind.title()}Options"))
        if kind == "RESHAPE":
            shape = self.net.Tensors(node.Outputs(0)).ShapeAsNumpy()[1:]
            wanted = graph.constant(np.array([-1, *shape], np.int64))
            return graph.add("Reshape", [self.tensor(inputs[0]), wanted])
        raise graph.unknown(f"the operation {kind}")

    def _convolution(self, kind: str, node: Any, inputs: list[int]) -> str:
        weights = self.numbers(inputs[1])
        if weights is None:
            raise self.graph.unknown("a convolution whose weights are computed")
        depthwise = kind == "DEPTHWISE_CONV_2D"
        # (1, rows, columns, out), or (out, rows, columns, in)
        weights = weights.transpose(3, 0, 1, 2) if depthwise else weights.transpose(0, 3, 1, 2)
        about = self._options(node, "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions")
        padding = "SAME" if about.Padding() == self.schema.Padding.SAME else "VALID"
        bias = self.numbers(inputs[2]) if len(inputs) > 2 and inputs[2] >= 0 else None
        groups = self.net.Tensors(inputs[0]).ShapeAsNumpy()[3] if depthwise else 1
        value = self.graph.convolution(
            self.tensor(inputs[0]),
            weights,
            [about.StrideH(), about.StrideW()],
            padding,
            int(groups),
            bias=bias,
            dilations=[about.DilationHFactor(), about.DilationWFactor()],
        )
        return self._activated(value, about)

    def _activated(self, value: str, about: Any) -> str:
        number = about.FusedActivationFunction()
        return self.graph.activated(value, self.activations.get(number, f"number {number}"))

    def _options(self, node: Any, kind: str) -> Any:
        about, table = getattr(self.schema, kind)(), node.BuiltinOptions()
        about.Init(table.Bytes, table.Pos)
        return about

    def tensor(self, index: int) -> str:
        """Name of a tensor that was made, or of the constant that it is."""
        if index not in self.known:
            values = self.numbers(index)
            if values is None:
                raise InputError(f"the network {self.graph.name} uses a tensor before it is made.")
            self.known[index] = self.graph.constant(values.astype(np.float32))
        return self.known[index]

    def numbers(self, index: int) -> np.ndarray | None:
        """Values of a constant tensor; None for one that is computed."""
        tensor = self.net.Tensors(index)
        buffer = self.model.Buffers(tensor.Buffer())
        if not buffer.DataLength():
            return None
        if tensor.Type() not in self.kinds:
            raise self.graph.unknown(f"numbers of type {tensor.Type()}")
        kind = np.dtype(self.kinds[tensor.Type()])
        shape = [tensor.Shape(k) for k in range(tensor.ShapeLength())]
        return buffer.DataAsNumpy().view(kind).reshape(shape)


def _names(choices: Any) -> dict[int, str]:
    """Number -> name of a choice of the schema."""
    return {value: key for key, value in vars(choices).items() if isinstance(value, int)}
