"""What this machine says of its power, heat, memory and link now (Linux: sysfs and procfs).

Nothing here is believed more than it deserves: what is missing, broken or absurd is not known.
Whether the link is metered is a person's knowledge first: ``/run/edgeloop/metered`` holds ``yes``
or ``no``. Without that file NetworkManager is asked about the interface of the default route.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

METERED = Path("run/edgeloop/metered")
METERED_SECONDS = 60.0  # how long NetworkManager's answer is taken for true
NMCLI_SECONDS = 5.0
COLDEST, HOTTEST = -50.0, 200.0  # degrees Celsius; a sensor that says more or less is broken
WORDS = {"yes": True, "no": False}

Asked: TypeAlias = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Readings:
    """None: not known. Memory in millions of bytes, temperature in degrees Celsius."""

    battery_percent: float | None = None  # the mean, where there are several
    charging: bool | None = None  # whether power comes from outside, with a full battery too
    temperature_c: float | None = None  # of the hottest zone
    free_memory_mb: float | None = None  # that a program could have without swapping
    metered: bool | None = None


def ask_nmcli(interface: str) -> str:
    """What NetworkManager says: ``yes``, ``no``, ``yes (guessed)`` ...; "" without it."""
    line = ["nmcli", "-t", "-f", "GENERAL.METERED", "device", "show", interface]
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, check=False, timeout=NMCLI_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition(":")[2]


class Reader:
    """Reads below ``root``. A read is some small files, and at most once a minute ``nmcli``."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        ask: Asked = ask_nmcli,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._ask, self._timer = root, ask, timer
        self._asked: tuple[str, float, bool | None] = ("", float("-inf"), None)

    def read(self) -> Readings:
        """What is known now. Never raises for what it finds."""
        supplies = [_Supply(place) for place in self._places("power_supply", "*")]
        return Readings(
            battery_percent=_battery_percent(supplies),
            charging=_charging(supplies),
            temperature_c=self._temperature(),
            free_memory_mb=_free_memory(_text(self._root / "proc/meminfo")),
            metered=self._metered(),
        )

    def _places(self, kind: str, pattern: str) -> list[Path]:
        return sorted((self._root / "sys/class" / kind).glob(pattern))

    def _temperature(self) -> float | None:
        found = (_number(zone / "temp") for zone in self._places("thermal", "thermal_zone*"))
        degrees = [milli / 1000 for milli in found if milli is not None]
        return max((one for one in degrees if COLDEST <= one <= HOTTEST), default=None)

    def _metered(self) -> bool | None:
        told = WORDS.get(_text(self._root / METERED))
        interface = _default_interface(_text(self._root / "proc/net/route"))
        if told is not None or not interface:
            return told
        asked, when, answer = self._asked
        if asked != interface or self._timer() - when >= METERED_SECONDS:
            answer = WORDS.get(self._ask(interface).strip().partition(" ")[0])
            self._asked = (interface, self._timer(), answer)
        return answer


class _Supply:
    """One folder of ``/sys/class/power_supply``."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.battery = self._says("type") == "Battery"
        # a mouse's battery says nothing of this machine, nor does an empty holder
        self.ours = self._says("scope") != "Device" and self._says("present") != "0"

    def _says(self, name: str) -> str:
        return _text(self._place / name)

    @property
    def percent(self) -> float | None:
        """How full a battery is."""
        told = _number(self._place / "capacity")
        return told if told is not None and 0 <= told <= 100 else None

    @property
    def powers(self) -> bool | None:
        """Whether power comes in: by the plug's word, or by what the battery does."""
        if self.battery:
            return {"Charging": True, "Full": True, "Discharging": False}.get(self._says("status"))
        return {"0": False, "1": True, "2": True}.get(self._says("online"))


def _battery_percent(supplies: list[_Supply]) -> float | None:
    told = [supply.percent for supply in supplies if supply.battery and supply.ours]
    known = [percent for percent in told if percent is not None]
    return sum(known) / len(known) if known else None


def _charging(supplies: list[_Supply]) -> bool | None:
    known = {supply.powers for supply in supplies if supply.ours} - {None}
    return None if not known else True in known


def _free_memory(meminfo: str) -> float | None:
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            told = value.split()
            return int(told[0]) * 1024 / 1e6 if told and told[0].isdecimal() else None
    return None


def _default_interface(routes: str) -> str:
    """Of the default route that is preferred; "" without one."""
    return min(_defaults(routes), default=(0, ""))[1]


def _defaults(routes: str) -> Iterator[tuple[int, str]]:
    """Metric and interface of each default route."""
    for line in routes.splitlines()[1:]:
        match line.split():
            case [interface, "00000000", _, _, _, _, metric, *_] if metric.isdecimal():
                yield int(metric), interface


def _number(path: Path) -> float | None:
    try:
        return float(int(_text(path)))
    except ValueError:
        return None


def _text(path: Path) -> str:
    """What a small file holds; "" when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        return ""
