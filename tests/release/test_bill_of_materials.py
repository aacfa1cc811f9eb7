"""The bill of a release is valid CycloneDX, tells what the store knows, and names no device."""

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from edgeloop.protocol.messages import ReleaseRef
from edgeloop.release.bill_of_materials import bill
from edgeloop.release.bundle import BundleInfo, DeclaredProfile, Golden
from edgeloop.types import Artifact, Finding, Layer, MadeBy, Verdict

FILE = "sha256:" + "f" * 64
WEIGHTS = {"weights.safetensors": FILE}


def artifact(number: int, kind: str, plugin: str, meta, parents=(), **made) -> Artifact:
    return Artifact(
        digest=f"sha256:{number:064x}",
        kind=kind,
        meta=meta,
        layers=(),
        parents=tuple(parents),
        made_by=MadeBy(plugin=plugin, key="k", source="s", **made),
        files={},
    )


def snapshot(number: int, name: str, provenance) -> Artifact:
    meta = {"name": name, "rows": 5000, "provenance": provenance}
    return artifact(number, "snapshot", "source/x.v1", meta, libraries={"numpy": "2.4.0"})


PUBLIC = {
    "source": "builtin:digits",
    "files": {"digits.npz": FILE},
    "licence": "CC-BY-4.0",
    "citation": "A. Writer, Digits, 1999",
}
FIELD = {"origin": "field", "request": 3, "devices": {"line-7-camera": 12, "line-8-camera": 4}}
BASE = {"name": "mini", "files": WEIGHTS, "licence": "MIT; the package is BSD", "citation": "B"}
MODEL = {
    "format": "onnx",
    "answer": {"kind": "label", "params": {}},
    "inputs": [{"name": "image", "dtype": "uint8", "shape": [28, 28]}],
    "recipe": "text_encoder.v1",
    "notes": {"pretrained": BASE},
    "program": [],
}
RIGHT = Finding(
    check="accuracy", verdict=Verdict.PASS, value=0.9712, limit=">= 0.96", interval=(0.96, 0.98)
)
FIRST = Finding(check="disagreement", verdict=Verdict.PASS, reason="there is no current one")
SIZE = Finding(check="size", verdict=Verdict.PASS, value=1234567.0, unit="bytes")
REF = ReleaseRef(name="mine", channel="stable", version=3, digest=f"sha256:{9:064x}")


def lineage() -> list[Artifact]:
    libraries = {"torch": "2.13.0+cpu", "Some_Package": "1.0", "mlflow-skinny": "absent"}
    info = BundleInfo(
        name="mine",
        runtime="onnx",
        golden=Golden(rows=16, tolerance={"any": 0.02}),
        declared=(
            DeclaredProfile(
                profile="clean", rows=90, disagreement=0.25, claims={"x": 0.5}, against=FILE
            ),
        ),
        model=MODEL,
    )
    found = [
        artifact(number, "finding", "check/x.v1", one.to_meta(), libraries={"numpy": "2.4.0"})
        for number, one in ((5, RIGHT), (6, SIZE), (7, FIRST))
    ]
    parents = [one.digest for one in found]
    return [
        snapshot(1, "digits", PUBLIC),
        snapshot(2, "field", FIELD),
        artifact(3, "model", "recipe/text_encoder.v1", MODEL, libraries=libraries),
        artifact(4, "model", "pass/export_onnx.v1", MODEL),
        *found,
        artifact(9, "bundle", "bundle.v1", info.model_dump(mode="json"), parents),
    ]


LAYERS = [Layer(name="model.onnx", digest=FILE, size=9)]


def made() -> dict:
    return json.loads(bill(REF, lineage(), LAYERS))


def test_the_bill_is_valid_cyclonedx_and_the_same_each_time():
    text = bill(REF, lineage(), LAYERS)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode()) is None
    assert bill(REF, lineage(), LAYERS) == text
    other = REF.model_copy(update={"version": 4})
    serials = [json.loads(one)["serialNumber"] for one in (text, bill(other, lineage(), LAYERS))]
    assert len(set(serials)) == 2


def test_data_and_pretrained_weights_have_digest_licence_and_citation():
    parts = {one["bom-ref"]: one for one in made()["components"]}
    digits, mini = parts[f"sha256:{1:064x}"], parts["pretrained:mini"]
    assert (digits["type"], digits["licenses"]) == ("data", [{"license": {"id": "CC-BY-4.0"}}])
    assert digits["description"] == "A. Writer, Digits, 1999"
    assert digits["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "f" * 64}]
    assert mini["licenses"] == [{"license": {"name": "MIT; the package is BSD"}}]
    assert [one["name"] for one in mini["components"]] == ["weights.safetensors"]


def test_a_library_is_listed_once_by_the_name_of_the_package_index():
    purls = [one["purl"] for one in made()["components"] if one["type"] == "library"]
    assert purls == [
        "pkg:pypi/numpy@2.4.0",
        "pkg:pypi/some-package@1.0",
        "pkg:pypi/torch@2.13.0%2Bcpu",
    ]


def test_devices_that_gave_rows_are_counted_and_not_named():
    text = bill(REF, lineage(), LAYERS).decode()
    assert "camera" not in text
    (field,) = [one for one in made()["components"] if one["name"] == "field"]
    assert {"name": "edgeloop:devices", "value": "2"} in field["properties"]


def test_the_model_card_has_what_was_measured_with_its_limit_and_interval():
    card = made()["metadata"]["component"]["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {
            "type": "accuracy",
            "value": "0.9712",
            "confidenceInterval": {"lowerBound": "0.96", "upperBound": "0.98"},
        },
        {"type": "size, bytes", "value": "1234567"},
        {"type": f"disagreement with {FILE}", "value": "0.25", "slice": "clean"},
        {"type": "x", "value": "0.5", "slice": "clean"},
    ]
    assert card["properties"] == [
        {"name": "edgeloop:finding:accuracy", "value": "pass, limit >= 0.96"},
        {"name": "edgeloop:finding:disagreement", "value": "pass (there is no current one)"},
        {"name": "edgeloop:finding:size", "value": "pass"},
    ]
    assert card["modelParameters"]["datasets"] == [{"ref": f"sha256:{n:064x}"} for n in (1, 2)]


def test_what_a_plugin_of_others_tells_in_another_form_stops_no_release():
    odd = {"files": {"a": 3, "b": "sha256:x"}, "devices": 7, "licence": ["MIT"], "citation": 5}
    recipe = {**MODEL, "notes": {"pretrained": "mini", "file_sha256": FILE[7:]}}
    made_of = [
        snapshot(1, "odd", odd),
        artifact(3, "model", "recipe/other.v1", recipe, params={"file": "own.onnx"}),
        lineage()[-1],
    ]
    text = bill(REF, made_of, LAYERS).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    names = [one["bom-ref"] for one in json.loads(text)["components"]]
    assert names == [f"sha256:{1:064x}", f"pretrained:own.onnx@{FILE}", "pkg:pypi/numpy@2.4.0"]
