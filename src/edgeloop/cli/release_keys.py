"""``release keys``: one key per role in a folder, or root and targets in the hands of holders."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.output import Format, FormatOption, show, table

if TYPE_CHECKING:
    from edgeloop.loop.file import LoopFile
    from edgeloop.release.draft import Draft
    from edgeloop.release.repository import Repository

signing = typer.Typer()
LoopOption = Annotated[Path, typer.Option("--loop", help="The loop file.")]
LOOP = Path("loop.yaml")
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Its first line; asked for when it is not given."),
]
RootOption = Annotated[
    Path | None,
    typer.Option("--root", help="A <number>.root.json that you trust, from a device for example."),
]
DraftArgument = Annotated[Path, typer.Argument(help="The draft's file.")]
OUT = Path("keys.draft")


@signing.callback(invoke_without_command=True)
def keys(context: typer.Context, loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """List each role's keys; make keys and the first signed metadata where there are none."""
    if context.invoked_subcommand is not None:
        return
    checked, repository = open_repository(loop)
    repository.create((checked.settings.release.channel,))
    rows = [asdict(line) for line in repository.keys_of_roles()]
    if form is Format.JSON:
        told = {"keys": str(repository.keys), "repository": str(repository.folder), "roles": rows}
        show(told, form, "")
    else:
        table(rows, ("role", "holder", "key", "file", "threshold", "version", "expires"), form)
        text = f"keys in {repository.keys}: keep root.pem and targets.pem offline"
        show(None, form, f"root {repository.root_number()}\n{text}")


@signing.command()
def rotate(
    roles: Annotated[
        list[str],
        typer.Argument(help="root, targets, snapshot, timestamp, a channel, or model-signing."),
    ],
    loop: LoopOption = LOOP,
    form: FormatOption = Format.TEXT,
) -> None:
    """Give roles new keys, and let devices believe the old ones no more: lost, stolen or aged."""
    _, repository = open_repository(loop)
    repository.rotate(roles)
    news = {line.role: line.key for line in repository.keys_of_roles() if line.role in roles}
    lines = [f"{role} has the new key {key}" for role, key in news.items()]
    lines.append(f"the old ones are kept as .retired files in {repository.keys}")
    show({"rotated": news}, form, "\n".join(lines))


@signing.command()
def new(
    key: Annotated[Path, typer.Argument(help="Named after the holder: anna.pem.")],
    passphrase_file: PassphraseOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a holder's key, under a passphrase; best on a machine without a network."""
    from edgeloop.release import holders

    public = holders.make(key, _passphrase(passphrase_file, twice=True))
    identity = holders.read_public(public).keyid
    text = (
        f"key {holders.spoken(identity)}: keep {key} offline, with a copy in another place\n"
        f"give {public} to whoever has the repository"
    )
    show({"key": identity, "private": str(key), "public": str(public)}, form, text)


@signing.command()
def draft(
    root: Annotated[
        str, typer.Option(help="Who holds root from now on: '2 of anna.pub ben.pub cleo.pub'.")
    ] = "",
    targets: Annotated[
        str, typer.Option(help="Who holds targets. Present holders can be named without a file.")
    ] = "",
    new_key: Annotated[
        list[str] | None, typer.Option(help="snapshot, timestamp or a channel gets a new key.")
    ] = None,
    add_channel: Annotated[list[str] | None, typer.Option(help="A channel to add.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The draft's file.")] = OUT,
    loop: LoopOption = LOOP,
    form: FormatOption = Format.TEXT,
) -> None:
    """Draft a change of root or targets for holders to sign; without options they live longer."""
    from edgeloop.release import draft as drafts
    from edgeloop.release import holders
    from edgeloop.release.ceremony import Change

    _, repository = open_repository(loop)
    wanted = {role: text for role, text in (("root", root), ("targets", targets)) if text}
    change = Change(
        holdings={r: holders.asked(t, repository.holders(r)) for r, t in wanted.items()},
        fresh=tuple(new_key or ()),
        channels=tuple(add_channel or ()),
    )
    made = repository.draft(change)
    drafts.begin(made, out)
    _tell(made, out, form)


@signing.command("show")
def tell(
    path: DraftArgument = OUT, root: RootOption = None, form: FormatOption = Format.TEXT
) -> None:
    """Say what a draft changes, and who has signed it."""
    from edgeloop.release import draft as drafts
    from edgeloop.release.draft_trust import look

    read = drafts.read(path)
    _tell(read, path, form, look(read, root))


@signing.command()
def sign(
    key: Annotated[Path, typer.Option(help="Your key, or root.pem of the repository's folder.")],
    path: DraftArgument = OUT,
    root: RootOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is right.")] = False,
    passphrase_file: PassphraseOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Sign a draft, after saying what it changes; needs no network and no repository."""
    from edgeloop.release import draft as drafts
    from edgeloop.release import draft_trust, holders
    from edgeloop.release.draft_words import words

    read, kept = drafts.read(path), draft_trust.beside(key)
    known = draft_trust.look(read, root or (kept if kept.exists() else None))
    if not yes:
        typer.echo("\n".join([*words(read), known]), err=True)
        typer.confirm("Is this what you were told?", abort=True, err=True)
    signed = read.sign(holders.open_key(key, lambda: _passphrase(passphrase_file)))
    drafts.save(read, path)
    draft_trust.keep(read, key)
    show({"signed": signed, "draft": str(path)}, form, f"signed: {', '.join(signed)}")


@signing.command()
def publish(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="The draft, or copies that holders signed.")
    ] = None,
    loop: LoopOption = LOOP,
    form: FormatOption = Format.TEXT,
) -> None:
    """Publish a draft that enough holders have signed; devices follow at their next poll."""
    from edgeloop.release import draft as drafts
    from edgeloop.release.draft_words import words

    first, *others = [drafts.read(path) for path in paths or [OUT]]
    gathered = first.with_signatures_of(others)
    _, repository = open_repository(loop)
    repository.publish_draft(gathered)
    show({"published": gathered.number}, form, "\n".join([*words(gathered), "published"]))


def open_repository(loop: Path) -> tuple[LoopFile, Repository]:
    """A loop file and the repository that it names."""
    from edgeloop.loop.file import load_loop
    from edgeloop.release.repository import Repository

    checked = load_loop(loop)
    release = checked.settings.release
    return checked, Repository(checked.path(release.repository), checked.path(release.keys))


def _tell(draft: Draft, path: Path, form: Format, *more: str) -> None:
    from edgeloop.release.draft_words import words

    lines = [*words(draft), *more]
    told = {"draft": str(path), "number": draft.number, "words": lines}
    show(told, form, "\n".join(lines))


def _passphrase(file: Path | None, *, twice: bool = False) -> bytes:
    """What opens a key: the first line of a file, or asked for without showing it."""
    if file is not None:
        from edgeloop.release.holders import read_passphrase

        return read_passphrase(file)
    asked: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True)
    return asked.encode()
