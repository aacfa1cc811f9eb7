"""What a machine says of its power, heat, memory and link, under a folder in the root's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.agent.readings import METERED_SECONDS, Reader, Readings, ask_nmcli

ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
wwan0\t00000000\t0101A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0
eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
"""


class Told:
    """NetworkManager with one answer, and the interfaces that it was asked about."""

    def __init__(self, answer: str) -> None:
        self.answer, self.asked = answer, list[str]()

    def __call__(self, interface: str) -> str:
        self.asked.append(interface)
        return self.answer


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def supply(name: str, **says: str) -> dict[str, str]:
    return {f"sys/class/power_supply/{name}/{key}": f"{value}\n" for key, value in says.items()}


def test_a_machine_without_sensors_knows_nothing(tmp_path: Path) -> None:
    assert Reader(tmp_path).read() == Readings()


def test_a_laptop_on_its_battery_is_read(tmp_path: Path) -> None:
    put(tmp_path, supply("BAT0", type="Battery", present="1", capacity="40", status="Discharging"))
    put(tmp_path, supply("BAT1", type="Battery", present="1", capacity="80", status="Unknown"))
    put(tmp_path, supply("AC", type="Mains", online="0"))
    put(tmp_path, {f"sys/class/thermal/thermal_zone{i}/temp": t for i, t in enumerate("04")})
    put(tmp_path, {"sys/class/thermal/thermal_zone1/temp": "61500\n"})
    put(tmp_path, {"proc/meminfo": "MemTotal: 8000 kB\nMemAvailable:    1000000 kB\n"})
    assert Reader(tmp_path).read() == Readings(
        battery_percent=60, charging=False, temperature_c=61.5, free_memory_mb=1024
    )


@pytest.mark.parametrize(
    "says",
    [
        {"type": "Battery", "status": "Full"},
        {"type": "Battery", "status": "Charging"},
        {"type": "Mains", "online": "1"},
        {"type": "USB", "online": "2"},
    ],
)
def test_power_from_outside_is_charging(tmp_path: Path, says: dict[str, str]) -> None:
    put(tmp_path, supply("one", **says))
    assert Reader(tmp_path).read().charging is True


def test_a_mouse_and_an_empty_holder_are_no_battery_of_this_machine(tmp_path: Path) -> None:
    put(tmp_path, supply("mouse", type="Battery", scope="Device", capacity="9", status="Full"))
    put(tmp_path, supply("BAT1", type="Battery", present="0", capacity="0", status="Full"))
    assert Reader(tmp_path).read() == Readings()


@pytest.mark.parametrize("broken", ["", "many", "-1", "101", "\x00", "1e9"])
def test_what_is_broken_or_absurd_is_not_known(tmp_path: Path, broken: str) -> None:
    put(tmp_path, supply("BAT0", type="Battery", capacity=broken, status=broken))
    put(tmp_path, {"sys/class/thermal/thermal_zone0/temp": f"9{broken}000000"})
    put(tmp_path, {"proc/meminfo": f"MemAvailable: x{broken}\n"})
    put(tmp_path, {"proc/net/route": f"{broken}\n{broken}\n", "run/edgeloop/metered": broken})
    assert Reader(tmp_path).read() == Readings()


def test_a_file_that_is_no_text_and_a_folder_in_a_files_place_are_not_known(tmp_path: Path) -> None:
    put(tmp_path, supply("BAT0", type="Battery", status="Full"))
    (tmp_path / "sys/class/power_supply/BAT0/capacity").write_bytes(b"\xff\xfe")
    (tmp_path / "proc/meminfo").mkdir(parents=True)
    assert Reader(tmp_path).read() == Readings(charging=True)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("yes", True),
        ("yes (guessed)\n", True),
        ("no (guessed)", False),
        ("unknown", None),
        ("", None),
    ],
)
def test_networkmanager_is_asked_about_the_preferred_default_route(
    tmp_path: Path, said: str, known: bool | None
) -> None:
    told = Told(said)
    put(tmp_path, {"proc/net/route": ROUTES})
    assert Reader(tmp_path, ask=told).read() == Readings(metered=known)
    assert told.asked == ["eth0"]


def test_networkmanager_is_asked_once_a_minute(tmp_path: Path) -> None:
    told, now = Told("yes"), [0.0]
    put(tmp_path, {"proc/net/route": ROUTES})
    reader = Reader(tmp_path, ask=told, timer=lambda: now[0])
    seen = [reader.read().metered, reader.read().metered]
    told.answer, now[0] = "no", METERED_SECONDS
    seen.append(reader.read().metered)
    assert (seen, told.asked) == ([True, True, False], ["eth0", "eth0"])


def test_a_person_who_says_it_is_metered_is_believed_first(tmp_path: Path) -> None:
    told = Told("no")
    put(tmp_path, {"proc/net/route": ROUTES, "run/edgeloop/metered": "yes\n"})
    assert (Reader(tmp_path, ask=told).read().metered, told.asked) == (True, [])


def test_a_machine_without_networkmanager_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_nmcli("eth0") == ""
