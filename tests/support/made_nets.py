"""Small made-up networks in other formats, and what they answer, computed by loops."""

from __future__ import annotations

import base64
import json

import numpy as np

SIZE = 9


def text(word):
    return base64.b64encode(word.encode()).decode()


def ints(*values):
    return {"list": {"i": [str(v) for v in values]}}


def convolved(picture, weights, stride, same, depthwise=False):
    """(rows, columns, in) by (rows, columns, in, out), as TensorFlow defines it; depthwise: out a channel."""
    tall, wide, _, many = weights.shape
    rows, columns, channels = picture.shape
    out_rows, out_columns = (
        -(-n // stride) if same else (n - k) // stride + 1 for n, k in ((rows, tall), (columns, wide))
    )
    if same:
        below, right = (
            max((m - 1) * stride + k - n, 0)
            for m, k, n in ((out_rows, tall, rows), (out_columns, wide, columns))
        )
        edges = ((below // 2, below - below // 2), (right // 2, right - right // 2), (0, 0))
        picture = np.pad(picture, edges)
    out = np.zeros((out_rows, out_columns, channels * many if depthwise else many))
    for i in range(out_rows):
        for j in range(out_columns):
            part = picture[i * stride : i * stride + tall, j * stride : j * stride + wide]
            if depthwise:
                out[i, j] = np.einsum("hwc,hwcm->cm", part, weights).ravel()
            else:
                out[i, j] = np.einsum("hwc,hwcm->m", part, weights)
    return out


class Made:
    """Weights of a network of two convolutions, and its answer to a picture (rows, columns, 3)."""

    def __init__(self, seed=0):
        random = np.random.default_rng(seed)
        self.first = random.normal(size=(3, 3, 3, 4)).astype(np.float32)
        self.bias = random.normal(size=4).astype(np.float32)
        self.second = random.normal(size=(2, 3, 4, 2)).astype(np.float16)
        self.shift = random.normal(size=8).astype(np.float32)

    def hidden(self, picture):
        """After the first convolution: stride 2, padding SAME, ReLU6."""
        return np.clip(convolved(picture, self.first, 2, True) + self.bias, 0, 6)

    def answer_tfjs(self, picture):
        """Padded, convolved by channel, shifted, at most 3, averaged over the picture."""
        padded = np.pad(self.hidden(picture), ((1, 0), (0, 2), (0, 0)))
        value = convolved(padded, self.second.astype(float), 1, False, depthwise=True) + self.shift
        return np.minimum(value, 3).mean(axis=(0, 1))

    def answer_tflite(self, picture):
        """Convolved by channel with ReLU, less the shift, as one row."""
        value = convolved(self.hidden(picture), self.second.astype(float), 1, False, depthwise=True)
        return (np.maximum(value, 0) - self.shift).ravel()


def tfjs_files(made, inputs=None, **changed):
    """``model.json`` and its weights: the second convolution's as float16, the shift as bytes with a scale."""
    scale = float(np.ptp(made.shift)) / 255
    packed = np.round((made.shift - made.shift.min()) / scale).astype(np.uint8)
    made.shift = packed.astype(np.float32) * np.float32(scale) + np.float32(made.shift.min())
    arrays = [
        ("w1", made.first, {}),
        ("b1", made.bias, {}),
        ("w2", made.second, {"quantization": {"dtype": "float16"}}),
        ("s", packed, {"quantization": {"dtype": "uint8", "scale": scale, "min": float(made.shift.min())}}),
        ("three", np.float32(3), {}),
        ("ends", np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32), {}),
        ("axes", np.array([1, 2], np.int32), {}),
    ]
    kinds = {"ends": "int32", "axes": "int32"}
    weights = [
        {"name": n, "shape": list(a.shape), "dtype": kinds.get(n, "float32"), **more} for n, a, more in arrays
    ]
    nodes = [{"name": n, "op": "Const"} for n, _, _ in arrays] + [
        {
            "name": "answer",
            "op": "Mean",
            "input": ["least", "axes"],
            "attr": {"keep_dims": {"b": False}},
        },
        {"name": "least", "op": "Minimum", "input": ["moved", "three"]},
        {"name": "moved", "op": "AddV2", "input": ["two:0", "s"]},
        {
            "name": "two",
            "op": "DepthwiseConv2dNative",
            "input": ["padded", "w2"],
            "attr": {"strides": ints(1, 1, 1, 1), "padding": {"s": text("VALID")}},
        },
        {"name": "padded", "op": "Pad", "input": ["one", "ends"]},
        {
            "name": "one",
            "op": "_FusedConv2D",
            "input": ["picture", "w1", "b1"],
            "attr": {
                "strides": ints(1, 2, 2, 1),
                "padding": {"s": text("SAME")},
                "data_format": {"s": text("NHWC")},
                "fused_ops": {"list": {"s": [text("BiasAdd"), text("Relu6")]}},
            },
        },
        {
            "name": "picture",
            "op": "Placeholder",
            "attr": {"shape": {"shape": {"dim": [{"size": str(n)} for n in (-1, SIZE, SIZE, 3)]}}},
        },
        {"name": "unused", "op": "Dream", "input": ["answer"]},
    ]
    for node in nodes:
        node.update({"input": (inputs or {})[node["name"]]} if node["name"] in (inputs or {}) else {})
        node["op"] = changed.get(node["name"], node["op"])
    model = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["net.bin"], "weights": weights}],
    }
    return json.dumps(model).encode(), b"".join(np.ascontiguousarray(a).tobytes() for _, a, _ in arrays)


def tflite_file(made):
    """Build the file by the schema's own builders; needs ``tflite``."""
    import flatbuffers
    import tflite as s

    b = flatbuffers.Builder(1024)
    depthwise = made.second.reshape(2, 3, 8)[None]
    numbers = [made.first.transpose(3, 0, 1, 2), made.bias, depthwise, made.shift]
    hidden = (SIZE + 1) // 2
    shape = (hidden - 1, hidden - 2, 8)
    flat = int(np.prod(shape))
    shapes = [(1, SIZE, SIZE, 3), *(a.shape for a in numbers), (1, hidden, hidden, 4)]
    shapes += [(1, *shape), (1, *shape), (1, flat)]

    def vector(start, items):
        start(b, len(items))
        for item in reversed(items):
            b.PrependUOffsetTRelative(item)
        return b.EndVector()

    def indices(values):
        return b.CreateNumpyVector(np.array(values, np.int32))

    buffers = []
    for values in [None, *numbers]:
        data = None if values is None else b.CreateNumpyVector(np.frombuffer(values.tobytes(), np.uint8))
        s.BufferStart(b)
        if data is not None:
            s.BufferAddData(b, data)
        buffers.append(s.BufferEnd(b))
    tensors = []
    for k, size in enumerate(shapes):
        place = indices(size)
        s.TensorStart(b)
        s.TensorAddShape(b, place)
        half = k == 3  # the second convolution's weights
        s.TensorAddType(b, s.TensorType.FLOAT16 if half else s.TensorType.FLOAT32)
        s.TensorAddBuffer(b, k if 1 <= k <= 4 else 0)
        tensors.append(s.TensorEnd(b))

    def options(name, **values):
        getattr(s, f"{name}Start")(b)
        for key, value in values.items():
            getattr(s, f"{name}Add{key}")(b, value)
        return getattr(s, f"{name}End")(b)

    act = s.ActivationFunctionType
    steps = {"StrideW": 2, "StrideH": 2, "DilationWFactor": 1, "DilationHFactor": 1}
    plan = [
        (
            "CONV_2D",
            [0, 1, 2],
            5,
            "Conv2DOptions",
            {**steps, "Padding": s.Padding.SAME, "FusedActivationFunction": act.RELU6},
        ),
        (
            "DEPTHWISE_CONV_2D",
            [5, 3],
            6,
            "DepthwiseConv2DOptions",
            {
                **steps,
                "StrideW": 1,
                "StrideH": 1,
                "DepthMultiplier": 2,
                "Padding": s.Padding.VALID,
                "FusedActivationFunction": act.RELU,
            },
        ),
        ("SUB", [6, 4], 7, "SubOptions", {"FusedActivationFunction": act.NONE}),
        ("RESHAPE", [7], 8, "ReshapeOptions", {}),
    ]
    operators, codes = [], []
    for number, (name, inputs, output, kind, values) in enumerate(plan):
        about, given, made_of = options(kind, **values), indices(inputs), indices([output])
        s.OperatorStart(b)
        s.OperatorAddOpcodeIndex(b, number)
        s.OperatorAddInputs(b, given)
        s.OperatorAddOutputs(b, made_of)
        s.OperatorAddBuiltinOptionsType(b, getattr(s.BuiltinOptions, kind))
        s.OperatorAddBuiltinOptions(b, about)
        operators.append(s.OperatorEnd(b))
        code = getattr(s.BuiltinOperator, name)
        codes.append(options("OperatorCode", DeprecatedBuiltinCode=code, BuiltinCode=code))
    parts = {
        "Tensors": vector(s.SubGraphStartTensorsVector, tensors),
        "Operators": vector(s.SubGraphStartOperatorsVector, operators),
        "Inputs": indices([0]),
        "Outputs": indices([8]),
    }
    net = options("SubGraph", **parts)
    whole = {
        "Subgraphs": vector(s.ModelStartSubgraphsVector, [net]),
        "OperatorCodes": vector(s.ModelStartOperatorCodesVector, codes),
        "Buffers": vector(s.ModelStartBuffersVector, buffers),
    }
    b.Finish(options("Model", Version=3, **whole), b"TFL3")
    return bytes(b.Output())
