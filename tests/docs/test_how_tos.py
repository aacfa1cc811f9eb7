"""Each how-to's files and commands do what the page says."""

import re
import shutil
import tomllib

import pytest
from pages import DOCS, blocks, free_port, run

from edgeloop.agent.hooks import NAMES

pytestmark = pytest.mark.processes
LONG = pytest.mark.five  # a third of a minute and more: CI runs them, a newcomer need not


def test_every_how_to_is_run_here():
    assert {page.stem for page in (DOCS / "how-to").glob("*.md")} == {
        "agent-update",
        "bring-your-own-onnx",
        "deltas",
        "devices",
        "factory",
        "keys",
        "own-data-folder",
        "own-pytorch-model",
        "payloads",
        "python-api",
        "release-papers",
        "server-and-batch",
        "small-updates",
        "study",
        "update-windows",
        "variants",
    }


def test_an_onnx_file_of_ones_own_becomes_a_release(tmp_path):
    told = run(DOCS / "how-to" / "bring-your-own-onnx.md", tmp_path)
    assert "release 1 of stable/mine" in told


@LONG
def test_a_folder_of_images_becomes_a_release(tmp_path):
    told = run(DOCS / "how-to" / "own-data-folder.md", tmp_path)
    assert "release 1 of stable/sorter" in told
    assert "source/folder.v1" in told


@LONG
def test_a_recipe_of_ones_own_is_found_and_becomes_a_release(tmp_path):
    page = DOCS / "how-to" / "own-pytorch-model.md"
    told = run(page, tmp_path, {"pip install --editable .": installed(page)})
    assert "1 passed" in told
    assert "release 1 of stable/sorter" in told


@LONG
def test_the_loop_runs_from_python(tmp_path):
    page = DOCS / "how-to" / "python-api.md"
    told = run(page, tmp_path, {"8500": str(free_port())})
    assert "release 1 sha256:" in told
    assert "1000 rows of (28, 28)" in told
    assert "rollout finished, " in told
    assert "the trigger is calm" in told
    assert re.search(r"the report tells of \d+ answers", told)
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_the_python_page_imports_public_names_only():
    text = (DOCS / "how-to" / "python-api.md").read_text()
    assert set(re.findall(r"(?:from|import) (edgeloop[\w.]*)", text)) == {"edgeloop"}


@LONG
def test_a_study_compares_two_widths_and_tells_what_it_is_made_of(tmp_path):
    told = run(DOCS / "how-to" / "study.md", tmp_path)
    assert "study/study.v1" in told
    assert re.search(r"digits +wide +[+-]0\.\d+", told)
    assert (tmp_path / "study.html").read_text().startswith("<!DOCTYPE html>")


@LONG
def test_an_update_that_stays_near_takes_few_bytes(tmp_path):
    told = run(DOCS / "how-to" / "small-updates.md", tmp_path)
    assert "release 2 of stable/digits" in told
    assert re.search(r"update_bytes +pass +\d{4} bytes", told)


@LONG
def test_a_server_and_a_batch_are_devices(tmp_path):
    ports = {"8500": str(free_port()), "8181": str(free_port())}
    told = run(DOCS / "how-to" / "server-and-batch.md", tmp_path, ports)
    assert '{"rows": 300, "failed": 0, "kept": 0, "answers": "answers.jsonl"}' in told
    assert 'edgeloop_release_info{model="mine",version="1",bundle="sha256:' in told


def test_a_device_is_enrolled_by_its_invitation_over_tls(tmp_path):
    told = run(DOCS / "how-to" / "devices.md", tmp_path, {"8500": str(free_port())})
    assert "control plane at https://127.0.0.1:" in told
    assert "d1.json is for one device; bring it there by a way that you trust" in told
    assert (tmp_path / "mine" / "devices" / "d1" / "ca.pem").exists()


def test_a_device_comes_from_a_factory_and_its_keys_follow_each_other(tmp_path):
    told = run(DOCS / "how-to" / "factory.md", tmp_path, {"8500": str(free_port())})
    assert "acme (CN=Acme cameras): devices that are listed may claim stable/sorter" in told
    assert "and follows sorter" in told
    assert "gate is revoked: nobody listens to it until it is enrolled again" in told
    assert "device.enrolled_again" in told


def test_a_device_waits_for_a_hook_and_for_its_user(tmp_path):
    told = run(DOCS / "how-to" / "update-windows.md", tmp_path, {"8500": str(free_port())})
    assert "release 1 waits for 3600 s" in told


@LONG
def test_a_firmware_goes_out_and_a_bad_one_comes_back(tmp_path):
    told = run(DOCS / "how-to" / "payloads.md", tmp_path, {"8500": str(free_port())})
    assert "release 2 of stable/gateway-os" in told
    assert "its checks did not succeed within 3 s" in told
    assert (tmp_path / "running.txt").read_text() == "good 1\n"


def test_one_release_carries_several_graphs(tmp_path):
    told = run(DOCS / "how-to" / "variants.md", tmp_path)
    assert "float: accuracy" in told
    assert "gpu.variant" in told
    assert "release 1 of stable/digits" in told


def test_a_delta_makes_the_new_model_and_the_new_folder(tmp_path):
    told = run(DOCS / "how-to" / "deltas.md", tmp_path)
    assert re.search(r"update\.delta: [\d,]+ bytes, [\d.]+ % of the new model", told)
    assert "  int8     1" in told
    assert (tmp_path / "made" / "labels.txt").read_text() == "cat dog owl\n"


def test_the_page_of_update_windows_names_every_hook():
    text = (DOCS / "how-to" / "update-windows.md").read_text()
    assert set(re.findall(r"`((?:before|after)-\w+)`", text)) == NAMES


def test_keys_are_replaced_when_they_are_stolen_or_lost(tmp_path):
    told = run(DOCS / "how-to" / "keys.md", tmp_path)
    assert "stable has the new key " in told
    assert "4.root.json" in told


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs Debian's skopeo; CI installs it")
@LONG
def test_a_release_is_handed_on_with_papers_that_another_tool_believes(tmp_path):
    page = DOCS / "how-to" / "release-papers.md"
    fast = "recipe.epochs=1 checks.accuracy.min=0 checks.worst_class.min=0"
    changed = {
        "pip install model-signing==1.1.1 pyopenssl": "true",
        "edgeloop run": f"edgeloop run loop.yaml {fast}",
    }
    told = run(page, tmp_path, changed)
    assert told.count("Verification succeeded") == 2
    assert '"artifactType":"application/vnd.cyclonedx+json"' in told
    signed = [tmp_path / "keys" / f"model-signing{half}" for half in (".pem", ".pub", ".1.pub")]
    assert all(path.is_file() for path in signed)


def installed(page) -> str:
    """What ``pip install --editable .`` leaves behind, without asking a package index."""
    (text,) = (text for _, name, text in blocks(page) if name == "pyproject.toml")
    project = tomllib.loads(text)["project"]
    ((group, points),) = project["entry-points"].items()
    lines = "\\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in points.items())])
    folder = f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about = f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: {project['version']}\\n"
    return "\n".join(
        [
            f"mkdir {folder}",
            f"printf '{about}' > {folder}/METADATA",
            f"printf '{lines}\\n' > {folder}/entry_points.txt",
            'export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"',
        ]
    )
