"""An ONNX graph under construction: what both converters write into.

Pictures are (N, rows, columns, channels) in TensorFlow's formats and (N, channels, rows, columns) in ONNX, so each
convolution or pooling stands between two transpositions; onnxruntime takes out those that meet.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from defacedask.errors import InputError, MissingExtraError

__all__ = ["Graph", "converter_package"]

#: Of the files that are written: onnxruntime 1.20 reads it.
OPSET, IR_VERSION = 18, 9
_TO_ONNX, _FROM_ONNX = [0, 3, 1, 2], [0, 2, 3, 1]


def converter_package(name: str) -> Any:
    """Import a package of the extra ``recognisers``.

    Raises
    ------
    MissingExtraError
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"converting a network needs {name} ({error}).",
            "Install it with: pip install 'defacedask[recognisers]'.",
        ) from None


class Graph:
    """Nodes and constants, in order; tensors are known by their names.

    Parameters
    ----------
    name : str
        For error messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._onnx = converter_package("onnx")
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._inputs: list[Any] = []

    def input(self, name: str, shape: Sequence[int]) -> None:
        """Declare what the network sees: (rows, columns, channels), any number at a time."""
        kind = self._onnx.TensorProto.FLOAT
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, ["N", *map(int, shape)]))

    def constant(self, values: Any, name: str = "") -> str:
        """Keep numbers; returns their name."""
        name = name or f"constant_{len(self._constants)}"
        array = np.ascontiguousarray(values)
        self._constants[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def add(self, operation: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node of one output; returns its name."""
        output = output or f"value_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def convolution(
        self,
        picture: str,
        weights: np.ndarray,
        strides: Sequence[int],
        padding: str,
        groups: int,
        **more: Any,
    ) -> str:
        """Convolve a picture with (out, in of a group, rows, columns); ``more``: bias, dilations."""
        inputs = [self.add("Transpose", [picture], perm=_TO_ONNX), self.constant(weights.astype(np.float32))]
        bias = more.pop("bias", None)
        if bias is not None:
            inputs.append(self.constant(np.asarray(bias, np.float32)))
        made = self.add(
            "Conv", inputs, strides=list(strides), group=groups, auto_pad=self.padding(padding), **more
        )
        return self.add("Transpose", [made], perm=_FROM_ONNX)

    def pooled(self, picture: str, size: Sequence[int], strides: Sequence[int], padding: str) -> str:
        """Largest values of (N, rows, columns, channels)."""
        turned = self.add("Transpose", [picture], perm=_TO_ONNX)
        made = self.add(
            "MaxPool",
            [turned],
            kernel_shape=list(size),
            strides=list(strides),
            auto_pad=self.padding(padding),
        )
        return self.add("Transpose", [made], perm=_FROM_ONNX)

    def activated(self, value: str, activation: str) -> str:
        """Apply an activation by TensorFlow's name, in any case; "" and ``none`` do nothing."""
        if activation.lower() in ("", "none"):
            return value
        if activation.lower() == "relu":
            return self.add("Relu", [value])
        if activation.lower() == "relu6":
            return self.add("Clip", [value, self.constant(np.float32(0)), self.constant(np.float32(6))])
        raise self.unknown(f"the activation {activation}")

    def padding(self, name: str) -> str:
        """TensorFlow's padding by ONNX's name."""
        try:
            return {"SAME": "SAME_UPPER", "VALID": "VALID"}[name]
        except KeyError:
            raise self.unknown(f"the padding {name}") from None

    def unknown(self, what: str) -> InputError:
        """Error for what no face network that we know of holds."""
        return InputError(f"the network {self.name} holds {what}, which is not converted.")

    def encoded(self, outputs: Sequence[str]) -> bytes:
        """Check the whole, and return it as the bytes of an ONNX file.

        Raises
        ------
        InputError
            If it is no valid network.
        """
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        ends = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
        used = {name for node in self._nodes for name in node.input}
        constants = [values for name, values in self._constants.items() if name in used]
        graph = helper.make_graph(self._nodes, "face", self._inputs, ends, constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        try:
            shapes = self._onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output
            del model.graph.output[:]
            model.graph.output.extend(shapes)
            self._onnx.checker.check_model(model, full_check=True)
        except Exception as error:
            raise InputError(f"the network {self.name} was not converted well ({error}).") from None
        return bytes(model.SerializeToString(deterministic=True))
