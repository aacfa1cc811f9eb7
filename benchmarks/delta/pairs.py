"""The pairs: which model, which update, which form; and which of them nobody may tune on."""

from __future__ import annotations

from dataclasses import dataclass

from delta.training import UPDATES

SAFETENSORS = ("fp32", "fp16", "bf16")
INT8 = ("int8 per channel", "int8 per tensor")
FORMS = {
    "clothes": (*SAFETENSORS, "fp32 onnx", *INT8),
    "digits": ("bf16", *INT8),
    "vowels": ("fp16", "fp32 onnx", "int8 per channel"),
    "people": ("fp32", *INT8),
    "letters": ("bf16", "int8 per channel", "q8_0", "q4_0"),
}
HELD_OUT = frozenset(  # nobody looked at these while the codec was made
    {
        ("clothes", "domain", "int8 per tensor"),
        ("vowels", "retrain", "fp16"),
        ("people", "domain", "int8 per channel"),
        ("letters", "light", "q4_0"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row of the table: a released model and an update of it, in one form."""

    model: str
    update: str
    form: str

    @property
    def held_out(self) -> bool:
        """Whether it was kept out of all tuning."""
        return (self.model, self.update, self.form) in HELD_OUT


def pairs() -> tuple[Pair, ...]:
    """All pairs, in the table's order."""
    return tuple(
        Pair(model=model, update=update, form=form)
        for model, forms in FORMS.items()
        for form in forms
        for update in UPDATES
    )
