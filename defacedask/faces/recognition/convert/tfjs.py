"""TensorFlow.js graph models as ONNX.

A graph model is a JSON file (TensorFlow's ``GraphDef``, names of weights and how they are packed) and binary files of
weights. Weights may be packed as float16, or as whole numbers with a scale and a least value.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from defacedask.errors import InputError
from defacedask.faces.recognition.convert.graph import Graph

__all__ = ["convert_tfjs"]

#: Operations that are one of ONNX with the same inputs.
_SAME = {
    "Add": "Add",
    "AddV2": "Add",
    "BiasAdd": "Add",
    "Sub": "Sub",
    "Mul": "Mul",
    "MatMul": "MatMul",
    "Maximum": "Max",
    "Minimum": "Min",
    "Relu": "Relu",
    "Identity": "Identity",
}
_CONVOLUTIONS = ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")


def convert_tfjs(model: bytes, files: Mapping[str, bytes], outputs: Sequence[str], name: str) -> bytes:
    """Convert a graph model.

    Parameters
    ----------
    model : bytes
        Of ``model.json``.
    files : mapping
        Name of each file of weights, as in the model -> its bytes.
    outputs : sequence of str
        Nodes whose values are wanted; what they do not depend on is left out.
    name : str
        Of the network, for error messages.

    Returns
    -------
    bytes
        Of an ONNX file; its input is (N, rows, columns, 3).

    Raises
    ------
    InputError
        If the files do not fit each other, or hold an operation that is not known here.
    """
    try:
        facts = json.loads(model)
        nodes = {node["name"]: node for node in facts["modelTopology"]["node"]}
        manifest = facts["weightsManifest"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the network {name} is no TensorFlow.js graph model ({error!r}).") from None
    maker = _Maker(Graph(name), nodes, _weights(manifest, files, name))
    for output in outputs:
        maker.make(output)
    return maker.graph.encoded(outputs)


def _weights(manifest: Sequence[Any], files: Mapping[str, bytes], name: str) -> dict[str, np.ndarray]:
    """Unpack the weights by name."""
    found: dict[str, np.ndarray] = {}
    for group in manifest:
        missing = [path for path in group["paths"] if path not in files]
        if missing:
            raise InputError(f"the network {name} lacks its file {missing[0]}.")
        packed, at = b"".join(files[path] for path in group["paths"]), 0
        for weight in group["weights"]:
            how = weight.get("quantization") or {}
            kind = np.dtype(how.get("dtype") or weight["dtype"]).newbyteorder("<")
            count = int(np.prod(weight["shape"], dtype=int))
            if at + count * kind.itemsize > len(packed):
                raise InputError(f"the network {name} has fewer weights in its files than it names.")
            values = np.frombuffer(packed, kind, count, at)
            at += count * kind.itemsize
            if "scale" in how:
                values = values.astype(np.float32) * np.float32(how["scale"]) + np.float32(how["min"])
            found[weight["name"]] = values.astype(weight["dtype"]).reshape(weight["shape"])
        if at != len(packed):
            raise InputError(f"the network {name} has more weights in its files than it names.")
    return found


class _Maker:
    """Makes nodes with all that they depend on, each once, what comes first before what follows."""

    def __init__(self, graph: Graph, nodes: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
        self.graph, self.nodes, self.weights = graph, nodes, weights
        self.made: set[str] = set()
        #: What waits for something else.
        self.begun: set[str] = set()

    def make(self, wanted: str) -> None:
        """Add a node; a stack of its own, for networks are deeper than Python's."""
        waiting = [wanted]
        while waiting:
            name = waiting[-1]
            if name not in self.nodes:
                raise InputError(f"the network {self.graph.name} has no node {name!r}.")
            inputs = [_clean(one) for one in self.nodes[name].get("input", ())]
            lacking = [one for one in inputs if one not in self.made]
            if name not in self.made and lacking:
                if any(one in self.begun for one in lacking):
                    raise self.graph.unknown("a loop")
                self.begun.add(name)
                waiting += lacking
                continue
            waiting.pop()
            if name not in self.made:
                self._add(self.nodes[name], inputs)
                self.made.add(name)

    def _add(self, node: Mapping[str, Any], inputs: list[str]) -> None:
        graph, name, kind, about = self.graph, node["name"], node["op"], node.get("attr", {})
        if kind == "Placeholder":
            graph.input(name, [int(d["size"]) for d in about["shape"]["shape"]["dim"][1:]])
        elif kind == "Const":
            graph.constant(self.weights[name], name)
        elif kind in _SAME:
            graph.add(_SAME[kind], inputs, name)
        elif kind in _CONVOLUTIONS:
            graph.add("Identity", [self._convolution(kind, inputs, about)], name)
        elif kind == "MaxPool":
            size, strides = (_ints(about[key])[1:3] for key in ("ksize", "strides"))
            graph.add(
                "Identity", [graph.pooled(inputs[0], size, strides, _text(about["padding"]["s"]))], name
            )
        elif kind == "Mean":
            axes = graph.constant(np.atleast_1d(self.weights[inputs[1]]).astype(np.int64))
            keep = int(about.get("keep_dims", {}).get("b", False))
            graph.add("ReduceMean", [inputs[0], axes], name, keepdims=keep)
        elif kind == "Reshape":
            graph.add("Reshape", [inputs[0], graph.constant(self.weights[inputs[1]].astype(np.int64))], name)
        elif kind == "Pad":
            # ONNX wants all beginnings before all ends
            ends = self.weights[inputs[1]].T.reshape(-1).astype(np.int64)
            graph.add("Pad", [inputs[0], graph.constant(ends)], name)
        else:
            raise graph.unknown(f"the operation {kind}")

    def _convolution(self, kind: str, inputs: list[str], about: Mapping[str, Any]) -> str:
        if _text(about.get("data_format", {}).get("s", "TkhXQw==")) != "NHWC":
            raise self.graph.unknown("a convolution with channels first")
        weights, groups = self.weights[inputs[1]], 1
        if "epthwise" in kind:
            rows, columns, groups, times = weights.shape
            weights = weights.transpose(2, 3, 0, 1).reshape(groups * times, 1, rows, columns)
        else:
            weights = weights.transpose(3, 2, 0, 1)
        dilations = _ints(about["dilations"])[1:3] if "dilations" in about else [1, 1]
        strides, padding = _ints(about["strides"])[1:3], _text(about["padding"]["s"])
        value = self.graph.convolution(inputs[0], weights, strides, padding, groups, dilations=dilations)
        fused = about.get("fused_ops", {}).get("list", {}).get("s", [])
        rest = list(inputs[2:])
        for step in map(_text, fused):
            if step == "BiasAdd":
                value = self.graph.add("Add", [value, rest.pop(0)])
            else:
                value = self.graph.activated(value, step)
        return value


def _clean(name: str) -> str:
    """Name of a node from that of one of its outputs, or of a control."""
    return name.split(":")[0].lstrip("^")


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def _ints(attribute: Mapping[str, Any]) -> list[int]:
    return [int(value) for value in attribute["list"]["i"]]
