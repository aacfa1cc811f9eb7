"""What spans say that a file's bytes are, for tests that compare it with another reader."""

import ml_dtypes
import numpy as np

from edgeloop.delta.containers import find

DTYPES = {"bfloat16": ml_dtypes.bfloat16}


def numbers(content, span):
    dtype = np.dtype(DTYPES.get(span.form, span.form))
    return np.frombuffer(content, dtype, span.size // dtype.itemsize, span.offset).reshape(
        span.shape
    )


def of(content, offset, count, dtype="float32"):
    return np.frombuffer(content, dtype, count, offset)


def named(content):
    return {one.name: one for one in find(memoryview(content))}


def reals(content, span):
    """A tensor's numbers as its levels, scales and zero points make them."""
    told, levels = span.scales, numbers(content, span).astype(np.float64)
    lines = [1] * levels.ndim
    if told.axis is not None:
        lines[told.axis] = told.count
    zeros = 0.0 if told.zeros is None else of(content, told.zeros, told.count, span.form)
    zeros = np.asarray(zeros, dtype=np.float64)
    return (levels - (zeros.reshape(lines) if zeros.ndim else zeros)) * of(
        content, told.offset, told.count
    ).reshape(lines)
