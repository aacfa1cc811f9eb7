"""A file system over FUSE that knows what of it a power cut would leave: no more than was synced.

``lossy_fs.py MOUNT CUTS``. Whoever tries to make the folder ``MOUNT/.cut-7`` has what lasts at that
moment written to ``CUTS/7``: of each folder the names that it had at its last fsync, of each file
its bytes at its own.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import sys
from pathlib import Path
from typing import Any

from fuse import FUSE, FuseOSError, Operations

CUT = ".cut-"


class Node:
    """A file, folder or link; ``lasting`` is its content as of its last fsync."""

    def __init__(self, number: int, mode: int, content: Any) -> None:
        self.number, self.mode, self.links = number, mode, 1
        self.content = content  # bytearray, {name: Node}, or where a link leads
        self.lasting: Any = content if isinstance(content, str) else type(content)()

    def sync(self) -> None:
        self.lasting = self.content.copy()


class Lossy(Operations):
    """All in memory."""

    use_ns = False

    def __init__(self, cuts: Path) -> None:
        self._cuts, self._numbers = cuts, itertools.count(1)
        self._root = self._node(stat.S_IFDIR | 0o755, {})
        self._open: dict[int, Node] = {}
        self._handles = itertools.count(1)

    def _node(self, mode: int, content: Any) -> Node:
        return Node(next(self._numbers), mode, content)

    def _find(self, path: str) -> Node:
        node = self._root
        for name in filter(None, path.split("/")):
            if name not in node.content:
                raise FuseOSError(errno.ENOENT)
            node = node.content[name]
        return node

    def _parent(self, path: str) -> tuple[dict[str, Node], str]:
        folder, _, name = path.rpartition("/")
        return self._find(folder).content, name

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        node = self._open[fh] if fh in self._open else self._find(path)
        size = 0 if stat.S_ISDIR(node.mode) else len(node.content)
        links = 2 if stat.S_ISDIR(node.mode) else node.links
        own = {"st_uid": os.getuid(), "st_gid": os.getgid()}
        return {
            "st_mode": node.mode,
            "st_size": size,
            "st_nlink": links,
            "st_ino": node.number,
            **own,
        }

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *self._find(path).content]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        names, name = self._parent(path)
        names[name] = self._node(stat.S_IFREG | stat.S_IMODE(mode), bytearray())
        return self.open(path, 0)

    def open(self, path: str, flags: int) -> int:
        handle = next(self._handles)
        self._open[handle] = self._find(path)
        return handle

    def release(self, path: str, fh: int) -> int:
        self._open.pop(fh, None)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._open[fh].content[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        content = self._open[fh].content
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        node = self._open[fh] if fh in self._open else self._find(path)
        del node.content[length:]
        node.content.extend(bytes(length - len(node.content)))

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._open[fh].sync()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._find(path).sync()
        return 0

    def mkdir(self, path: str, mode: int) -> None:
        names, name = self._parent(path)
        if name.startswith(CUT):
            self._cut(self._root, self._cuts / name.removeprefix(CUT), {})
            raise FuseOSError(errno.ECANCELED)  # no folder was made
        names[name] = self._node(stat.S_IFDIR | stat.S_IMODE(mode), {})

    def rmdir(self, path: str) -> None:
        if self._find(path).content:
            raise FuseOSError(errno.ENOTEMPTY)
        self.unlink(path)

    def unlink(self, path: str) -> None:
        names, name = self._parent(path)
        names.pop(name).links -= 1

    def rename(self, old: str, new: str) -> None:
        (near, before), (far, after) = self._parent(old), self._parent(new)
        far[after] = near.pop(before)

    def link(self, target: str, source: str) -> None:
        names, name = self._parent(target)
        names[name] = self._find(source)
        names[name].links += 1

    def symlink(self, target: str, source: str) -> None:
        names, name = self._parent(target)
        names[name] = self._node(stat.S_IFLNK | 0o777, source)

    def readlink(self, path: str) -> str:
        return str(self._find(path).content)

    def chmod(self, path: str, mode: int) -> int:
        node = self._find(path)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        return 0

    def utimens(self, path: str, times: Any = None) -> int:
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        many = 1 << 20
        return {
            "f_bsize": 4096,
            "f_frsize": 4096,
            "f_blocks": many,
            "f_bfree": many,
            "f_bavail": many,
        }

    def _cut(self, folder: Node, place: Path, made: dict[int, Path]) -> None:
        place.mkdir()
        for name, node in folder.lasting.items():
            path = place / name
            if stat.S_ISDIR(node.mode):
                self._cut(node, path, made)
            elif stat.S_ISLNK(node.mode):
                path.symlink_to(node.lasting)
            elif node.number in made:
                path.hardlink_to(made[node.number])
            else:
                path.write_bytes(node.lasting)
                path.chmod(stat.S_IMODE(node.mode))
                made[node.number] = path


if __name__ == "__main__":
    FUSE(Lossy(Path(sys.argv[2])), sys.argv[1], foreground=True, nothreads=True)
