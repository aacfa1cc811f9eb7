"""A GGUF file's header is read within bounds; what is wrong with it is named."""

import struct

import pytest

from edgeloop.errors import ModelError
from edgeloop.runtimes.gguf_header import TYPES, read_header

F32, STRING, ARRAY, U32 = 0, 8, 9, 4


def text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()


def entry(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = F32, offset: int = 0) -> bytes:
    axes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + axes + struct.pack("<IQ", kind, offset)


def words(*values: str) -> bytes:
    return struct.pack("<IQ", STRING, len(values)) + b"".join(map(text, values))


def gguf(
    tensors: list[bytes],
    *,
    tokens: tuple[str, ...] = ("a", "b", "c"),
    data: int = 4 * 4 * 3,
    start: bytes = b"GGUF\x03\0\0\0",
    counts: tuple[int, int] | None = None,
) -> bytes:
    entries = [
        entry("general.architecture", STRING, text("llama")),
        entry("llama.block_count", U32, struct.pack("<I", 2)),
        entry("tokenizer.ggml.tokens", ARRAY, words(*tokens)),
    ]
    head = start + struct.pack("<2Q", *(counts or (len(tensors), len(entries))))
    head += b"".join(entries) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + b"\1" * data


EMBEDDING = tensor("token_embd.weight", (4, 3))
WHOLE = gguf([EMBEDDING])


def refused(tmp_path, content: bytes) -> str:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_header(path, "model.gguf")
    return str(caught.value)


def test_a_whole_file_says_its_entries_and_tensors(tmp_path):
    (tmp_path / "model.gguf").write_bytes(WHOLE)
    header = read_header(tmp_path / "model.gguf", "model.gguf")
    assert dict(header.entries) == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "tokenizer.ggml.tokens": 3,
    }
    one = header.tensors["token_embd.weight"]
    assert (one.type, one.shape, one.offset, one.size) == (F32, (4, 3), 0, 48)


@pytest.mark.parametrize("cut", range(1, len(WHOLE), 7))
def test_a_file_cut_anywhere_is_refused(tmp_path, cut):
    assert refused(tmp_path, WHOLE[:cut]).endswith("It may be cut short: fetch it again")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "must be a whole GGUF file, got cannot mmap an empty file"),
        (
            gguf([EMBEDDING], start=b"GGML\x03\0\0\0"),
            "must be GGUF of version 2 or 3, got (b'GGML', 3)",
        ),
        (
            gguf([EMBEDDING], counts=(2**60, 3)),
            ("must have 65536 tensors and 4096 entries or fewer, got 1152921504606846976 and 3"),
        ),
        (gguf([]), "must hold tensors, got none"),
        (
            gguf([tensor("w", (4, 3), offset=32)]),
            "must hold the whole tensor w, which ends at byte 80, got 48 bytes of tensors",
        ),
        (
            gguf([tensor("w", (2**62, 2**62))]),
            (
                "must hold the whole tensor w, which ends at byte "
                "85070591730234615865843651857942052864, got 48 bytes of tensors"
            ),
        ),
        (
            gguf([tensor("w", (4, 3), kind=99)]),
            "must have tensors of known types, got type 99 in w",
        ),
        (
            gguf([tensor("w", (33, 1), kind=2)]),
            "must have rows of a multiple of 32 in w, got [33, 1]",
        ),
        (
            gguf([EMBEDDING], tokens=("a", "b")),
            "must have a tokenizer of its 3 tokens, got 2: it belongs to other weights",
        ),
    ],
)
def test_a_broken_header_is_named(tmp_path, content, rule):
    assert refused(tmp_path, content) == (
        f"[E120] model file model.gguf {rule}. It may be cut short: fetch it again"
    )


def test_an_enormous_array_is_refused_before_it_is_walked(tmp_path):
    enormous = entry("x", ARRAY, struct.pack("<IQ", STRING, 2**40))
    content = b"GGUF\x03\0\0\0" + struct.pack("<2Q", 1, 1) + enormous
    assert refused(tmp_path, content) == (
        "[E120] model file model.gguf must be a whole GGUF file, got an array of 1099511627776"
        " texts. It may be cut short: fetch it again"
    )


@pytest.mark.llm
def test_block_sizes_are_those_of_ggml():
    import gguf as library

    theirs = {int(kind): sizes for kind, sizes in library.GGML_QUANT_SIZES.items()}
    assert {kind: theirs[kind] for kind in TYPES} == TYPES
