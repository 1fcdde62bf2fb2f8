"""Networks of other formats as ONNX, for the few operations that face networks are made of."""
