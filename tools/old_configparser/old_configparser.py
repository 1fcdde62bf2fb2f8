"""Give `configparser` back what Python 3.12 took from it; pyradiomics 3.0.1 asks for it when it is built.

The ``.pth`` file beside it imports this module when Python starts. It belongs into the environment of that build.
"""

import configparser

if not hasattr(configparser, "SafeConfigParser"):
    configparser.SafeConfigParser = configparser.ConfigParser  # type: ignore[attr-defined]
    configparser.RawConfigParser.readfp = configparser.RawConfigParser.read_file  # type: ignore[attr-defined]
