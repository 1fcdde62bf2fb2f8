"""An ONNX network whose picture has one fixed size, for pictures of any size; what it computes stays."""

from __future__ import annotations

from defacedask.errors import InputError
from defacedask.faces.recognition.convert.graph import converter_package

__all__ = ["open_sizes"]


def open_sizes(content: bytes, name: str) -> bytes:
    """Leave the sizes of a convolutional network's input and outputs open, but for the channels.

    Parameters
    ----------
    content : bytes
        Of an ONNX file: pictures (n, channels, rows, columns) in and out.
    name : str
        Of the network, for error messages.

    Raises
    ------
    InputError
        If it is no such network.
    """
    onnx = converter_package("onnx")
    try:
        model = onnx.load_from_string(content)
        graph = model.graph
        weights = {one.name for one in graph.initializer}
        # older files name their weights among the inputs, too
        inputs = [one for one in graph.input if one.name not in weights]
        del graph.input[:], graph.value_info[:]
        graph.input.extend(inputs)
        used = {name for node in graph.node for name in node.input}
        kept = [one for one in graph.initializer if one.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        for value in (*graph.input, *graph.output):
            sizes = value.type.tensor_type.shape.dim
            if len(sizes) != 4:
                raise InputError(f"the network {name} takes or gives something else than pictures.")
            for axis, size in enumerate(sizes):
                if axis != 1:
                    size.Clear()
        onnx.checker.check_model(model)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name} is no ONNX network ({error}).") from None
    return bytes(model.SerializeToString(deterministic=True))
