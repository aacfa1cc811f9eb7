"""Make the deltas of tests/frozen/deltas, once: ``python -m tests.delta.freeze_deltas``.

A delta that devices got must be applied for ever, so what is there is never made again. A new
format or instruction gets a case of its own.
"""

import struct
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from edgeloop.delta import listing
from edgeloop.delta.create import create_bytes

FROZEN = Path(__file__).parents[1] / "frozen" / "deltas"
TYPES = {"q4_0": 2, "q4_1": 3, "q8_0": 8, "q4_k": 12, "q6_k": 14}  # GGUF's numbers of them
SIZES = {
    "q4_0": (32, 18),
    "q4_1": (32, 20),
    "q8_0": (32, 34),
    "q4_k": (256, 144),
    "q6_k": (256, 210),
}
HALVES = {"q4_0": (0,), "q4_1": (0, 2), "q8_0": (0,), "q4_k": (0, 2), "q6_k": (208,)}
BITS, FEW = (0.7, 0.12, 0.12, 0.06), (0.95, 0.05)
TEXT = "What is no tensor is told by edits, and what is new in them by literals. "


def main():
    for name, (old, new) in cases().items():
        folder = FROZEN / name
        if folder.exists():
            print(f"{name} is there")
            continue
        made = create_bytes(old, new)
        folder.mkdir(parents=True)
        files = {f"old{at}": data for at, data in enumerate(old)}
        files |= {f"new{at}": data for at, data in enumerate(new)}
        for file, data in {**files, "delta": made.data}.items():
            (folder / file).write_bytes(data)
        print(f"{name}: {sum(map(len, new))} bytes by {len(made.data)}, {made.tensors} entries")
    return 0


def cases():
    """name -> old files, new files."""
    single = {
        **{f"{kind}-{form}": one for form in FLOATS for kind, one in float_pairs(form).items()},
        **{f"scales-{kind}": one for kind, one in level_pairs().items()},
        **{f"blocks-{form}": block_pair(form) for form in TYPES},
        "int32": int32_pair(),
        "text": (TEXT.encode() * 3, (TEXT[40:] + TEXT.replace("edits", "Edits")).encode() * 4),
        "prose": (b"", " ".join(random(6).choice(TEXT.split(), 900)).encode()),
        "words": words_pair(),
        "same": (b"the same", b"the same"),
        "empty": (b"something", b""),
    }
    found = {name: ([old], [new]) for name, (old, new) in single.items()}
    paths = ("labels.txt", "models/a.bin")
    model, other = float_pairs("float16")["moved"]
    found["folder"] = ([b"cat\ndog\n", model], [listing.written(paths), b"cat\nowl\n", other])
    found["whole"] = ([], [random(8).bytes(300)])
    return found


def random(seed):
    return np.random.default_rng(seed)


FLOATS = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def float_pairs(form):
    """Moved a little; along few directions; new, with what is no finite number among it."""
    chance, dtype = random(1), FLOATS[form]
    old = chance.normal(0, 0.1, (24, 40))
    moved = old + chance.normal(0, 1e-3, old.shape) * np.linspace(0.01, 3, 24)[:, None]
    along = old + chance.normal(0, 0.5, (24, 1)) @ chance.normal(0, 1, (1, 40))
    along += chance.normal(0, 1e-4, old.shape)
    special = chance.normal(0, 0.1, (64, 40)) * np.exp2(np.linspace(-6, 6, 64))[:, None]
    special[0, :6] = 0.0, -0.0, np.inf, -np.inf, np.nan, 6e-8
    news = {"moved": moved, "along": along, "special": special}
    return {
        kind: (save({"w": old.astype(dtype)}), save({"w": new.astype(dtype)}))
        for kind, new in news.items()
    }


def level_pairs():
    """Levels whose scales are one for all, by row, by column; with zero points; along a line."""
    chance = random(2)
    old = chance.normal(0, 0.3, (24, 40))
    new = old + chance.normal(0, 0.01, old.shape) * np.linspace(0, 3, 40)
    along = old + chance.normal(0, 0.5, (24, 1)) @ chance.normal(0, 1, (1, 40))
    found = {}
    for kind, axes, lines in (("all", (0, 1), 1), ("row", 1, 24), ("column", 0, 40)):
        found[kind] = tuple(
            quantized(one, wider * np.abs(one).max(axis=axes).reshape(lines))
            for one, wider in ((old, 1.0), (new, 1.3))
        )
    coarse = old + 0.9 / 127 * 8 * np.rint(chance.normal(0, 0.5, old.shape))
    found["stride"] = tuple(quantized(one, np.full(1, 0.9)) for one in (old, coarse))
    peak = np.abs(old).max(axis=1)
    odd = peak.copy()
    odd[:4] = 0, np.inf, np.nan, -odd[3]
    with np.errstate(all="ignore"):
        found["odd"] = (quantized(old, odd), quantized(new, odd))
    found["along"] = (quantized(old, peak), quantized(along, np.abs(along).max(axis=1)))
    alone = np.rint(chance.normal(0, 4, (48, 40))).astype(np.int8)
    found["new"] = (save({"other": np.zeros(3, np.float32)}), save({"w": alone}))
    found["zero-points"] = (asymmetric(old, 0.02), asymmetric(new, 0.021))
    return found


def quantized(values, peaks):
    scales = (peaks / 127).astype(np.float32)
    axis = 0 if len(scales) == 24 else 1
    by = scales if len(scales) == 1 else np.expand_dims(scales, 1 - axis)
    levels = np.clip(np.nan_to_num(np.rint(values / by)), -128, 127).astype(np.int8)
    return save({"w": levels, "w_scale": scales})


def asymmetric(values, scale):
    """uint8 by the second axis of four, as ONNX has it."""
    values = values.reshape(6, 4, 5, 8)
    scales = np.linspace(scale, 1.2 * scale, 4).astype(np.float32)
    zeros = np.array([120, 128, 131, 140], dtype=np.uint8)
    by = (1, 4, 1, 1)
    levels = np.rint(values / scales.reshape(by) + zeros.reshape(by))
    held = {"levels": np.clip(levels, 0, 255).astype(np.uint8), "scale": scales, "zero": zeros}
    node = helper.make_node("DequantizeLinear", list(held), ["real"], axis=1)
    out = helper.make_tensor_value_info("real", TensorProto.FLOAT, values.shape)
    constants = [numpy_helper.from_array(one, name) for name, one in held.items()]
    graph = helper.make_graph([node], "frozen", [], [out], initializer=constants)
    model: onnx.ModelProto = helper.make_model(graph, producer_name="edgeloop")
    return model.SerializeToString(deterministic=True)


def int32_pair():
    chance = random(3)
    old = chance.integers(-40_000, 40_000, (12, 20)).astype(np.int32)
    return save({"b": old}), save({"b": (old + chance.integers(-9, 9, old.shape)).astype(np.int32)})


def words_pair():
    """So much that several lanes take turns, and blocks grow."""
    chance = random(4)
    old = np.clip(chance.normal(0, 30, (40, 60)), -128, 127).astype(np.int8)
    moved = np.where(chance.random(old.shape) < 0.4, chance.integers(-3, 4, old.shape), 0)
    return save({"w": old}), save({"w": np.clip(old + moved, -128, 127).astype(np.int8)})


def block_pair(form):
    """Blocks of random bits, but for their float16s; some have moved."""
    chance, (numbers, size) = random(5), SIZES[form]
    rows, blocks = (12, 2) if numbers == 32 else (12, 1)
    old = chance.integers(0, 256, (rows * blocks, size)).astype(np.uint8)
    for place in HALVES[form]:
        halves = chance.uniform(0.01, 0.02, len(old)).astype("<f2")
        old[:, place : place + 2] = halves.view(np.uint8).reshape(-1, 2)
    new = old.copy()
    new[::2, HALVES[form][0]] ^= 5
    levels = slice(20, 120) if numbers == 256 else slice(4, size)
    new[:, levels] ^= chance.choice([0, 1, 16, 17], new[:, levels].shape, p=BITS).astype(np.uint8)
    if form == "q4_k":
        rescaled(new)
    elif form == "q6_k":
        new[:, 192:208] ^= chance.choice([0, 1], new[:, 192:208].shape, p=FEW).astype(np.uint8)
    shape = (blocks * numbers, rows)
    return gguf(form, shape, old.tobytes()), gguf(form, shape, new.tobytes())


def rescaled(blocks):
    """Another scale, and the levels that say the same on it."""
    scale = 1.15 * blocks[:, :2].copy().view("<f2")
    blocks[:, :2] = scale.astype("<f2").view(np.uint8)
    low, high = (np.rint(half / 1.15) for half in (blocks[:, 16:] & 15, blocks[:, 16:] >> 4))
    blocks[:, 16:] = low + 16 * high


def gguf(form, shape, data):
    """A file of one tensor."""
    told = struct.pack("<Q", 1) + b"w" + struct.pack("<I2Q", 2, *shape)
    told += struct.pack("<IQ", TYPES[form], 0)
    head = b"GGUF" + struct.pack("<I2Q", 3, 1, 0) + told
    return head + bytes(-len(head) % 32) + data + bytes(-len(data) % 32)


if __name__ == "__main__":
    sys.exit(main())
