"""The small world that these tests share with the other rooms of the model side."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from boxes_side import detector, scenes  # noqa: F401  (fixtures)
from model_side import (  # noqa: F401  (fixtures)
    int8_model,
    onnx_model,
    snapshot,
    torch_model,
    workplace,
)
from table_side import towns, trees, trees_graph  # noqa: F401
from text_side import encoder, encoder_graph, mails, tiny  # noqa: F401
