"""``release payload``: sign files that are no model, for devices that follow them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeloop.cli.output import Format, FormatOption, show
from edgeloop.cli.release_keys import LOOP, LoopOption, open_repository


def payload(
    files: Annotated[list[Path], typer.Argument(help="What a device is handed.")],
    kind: Annotated[str, typer.Option(help="script, container, firmware, or agent.")],
    name: Annotated[str, typer.Option(help="What devices follow, as gateway-os.")],
    channel: Annotated[str, typer.Option(help="Its channel; without it the loop's.")] = "",
    target: Annotated[
        list[str] | None, typer.Option(help="A class of devices that it is for; repeatable.")
    ] = None,
    checks: Annotated[
        int, typer.Option(min=1, help="How many checks in a row must find a device well.")
    ] = 3,
    loop: LoopOption = LOOP,
    form: FormatOption = Format.TEXT,
) -> None:
    """Sign files as the next release of a payload, by the loop's rollout plan."""
    from pydantic import TypeAdapter, ValidationError

    from edgeloop.errors import OverrideError
    from edgeloop.protocol.messages import Name
    from edgeloop.release import payloads
    from edgeloop.store.artifacts import Store

    checked, repository = open_repository(loop)
    channel = channel or checked.settings.release.channel
    try:
        TypeAdapter(Name).validate_python(name)
        told = {"name": name, "payload": kind, "targets": tuple(target or ())}
        info = payloads.PayloadInfo.model_validate(told)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "name"
        raise OverrideError(where, "must be of a payload", got=first["msg"]) from fault
    if name == checked.name:
        raise OverrideError("name", "must not be the model's", got=name)
    plan = checked.settings.rollout.plan().model_copy(update={"min_answers": checks})
    store = Store(checked.path(checked.settings.store))
    repository.create((channel,))
    ref = payloads.publish(store, repository, info, files, channel, plan)
    text = f"release {ref.version} of {channel}/{name}: {ref.digest}"
    show({"release": ref.model_dump(mode="json")}, form, text)
