"""The small world that these tests share with the other rooms of the model side."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from model_side import (  # noqa: F401  (fixtures)
    int8_model,
    onnx_model,
    snapshot,
    torch_model,
    workplace,
)
