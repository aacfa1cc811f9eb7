"""A token of SoftHSM 2, as a TPM or secure element behind PKCS#11."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
TOOL = shutil.which("softhsm2-util")
PIN = "1234"
needed = pytest.mark.skipif(
    not (TOOL and MODULE.exists()), reason="needs SoftHSM 2 (apt-get install softhsm2)"
)


@contextmanager
def a_token(folder: Path) -> Iterator[Path]:
    """A folder with a token and its PIN. A process reads the module's settings once."""
    pytest.importorskip("pkcs11", reason="needs the extra pkcs11")
    (folder / "tokens").mkdir()
    told = f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n"
    (folder / "softhsm2.conf").write_text(told)
    (folder / "pin").write_text(PIN)
    (folder / "pin").chmod(0o600)
    line = [str(TOOL), "--init-token", "--free", "--label", "edge", "--pin", PIN]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        subprocess.run([*line, "--so-pin", "5678"], check=True, capture_output=True)
        yield folder


def uri(token: Path, name: str, label: str = "edge") -> str:
    """Where a key of that token lives."""
    pin = token / "pin"
    return f"pkcs11:token={label};object={name}?module-path={MODULE}&pin-source=file:{pin}"
