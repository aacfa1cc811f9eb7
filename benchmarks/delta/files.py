"""The model file of a network after an update, in a form: made once, then kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path

from delta import forms, training
from delta.pairs import Pair
from delta.peers import Files


def of(pair: Pair, kept: Path) -> Files:
    """Old and new file of a pair, with the places of their tensors."""
    old = _file(pair.model, training.RELEASED, pair.form, kept)
    new = _file(pair.model, pair.update, pair.form, kept)
    return Files(
        form=pair.form,
        old=old,
        new=new,
        old_places=forms.places(pair.form, old),
        new_places=forms.places(pair.form, new),
    )


def _file(model: str, update: str, form: str, kept: Path) -> bytes:
    name = f"{model}-{update}-{form.replace(' ', '-')}-{_digest()}"
    path = kept / "files" / name
    if not path.exists():
        net, data = training.trained(model, update, kept), training.data_of(model, update)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(forms.written(form, net, data))
    return path.read_bytes()


@cache
def _digest() -> str:
    """Of the sources and libraries that make files of weights."""
    libraries = ("torch", "onnx", "onnxscript", "onnxruntime", "gguf", "safetensors")
    versions = " ".join(importlib.metadata.version(one) for one in libraries)
    source = (Path(__file__).parent / "forms.py").read_bytes()
    return hashlib.sha256(source + training.digest().encode() + versions.encode()).hexdigest()[:12]
