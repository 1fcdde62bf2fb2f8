"""Addresses of stores: local paths and fsspec URLs."""

from __future__ import annotations

import shutil

__all__ = ["is_local", "join_url", "remove"]


def join_url(root: str, *parts: str) -> str:
    """Join a local path or URL with further parts."""
    return "/".join([str(root).rstrip("/"), *parts])


def is_local(url: str) -> bool:
    """Whether a store address is a plain path."""
    return "://" not in url and "::" not in url


def remove(url: str) -> None:
    """Delete a store, whole or half-written; nothing happens if it is not there."""
    if is_local(url):
        shutil.rmtree(url, ignore_errors=True)
        return
    import fsspec

    fs, path = fsspec.core.url_to_fs(url)
    if fs.exists(path):
        fs.rm(path, recursive=True)
