"""Faces in images: skin, pictures, detection, recognition, and what rates are worth."""
