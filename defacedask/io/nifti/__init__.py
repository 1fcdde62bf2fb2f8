"""NIfTI in and out: names, keys, values, reading as a series, writing with a mask and a sidecar."""
