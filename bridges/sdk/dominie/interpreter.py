"""The tool `python`: runs a program in the sandbox, files in and out. `dominie tool add --python` registers it.

This text itself goes into the box, so it has the standard library alone, and `dominie.tool`. The program runs in the
same process: all that it could forge is its own result.
"""

import ast
import base64
import contextlib
import io
import json
import linecache
import os
import stat
import traceback
from typing import Any

import dominie

_PROGRAM = "<program>"
_FOLDER = "/tmp/work"
_MOST_PRINTED = 100_000
_MOST_SHOWN = 10_000


class _Printed(io.TextIOBase):
    """What was printed, up to a number of characters."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._left = _MOST_PRINTED

    def write(self, text: str) -> int:
        self._left -= len(text)
        if self._left < 0:
            raise OverflowError(f"the program printed more than {_MOST_PRINTED} characters; write a file instead")
        self._parts.append(text)
        return len(text)

    def text(self) -> str:
        return _text("".join(self._parts))

    @property
    def full(self) -> bool:
        return self._left < 0


@dominie.tool(
    effect="write", kind="sandboxed", timeout_s=30.0, roles={"code": "code"}, profile={"output_bytes": 16 * 2**20}
)
def python(code: str, files: dict[str, str | dict[str, str]] | None = None) -> dict[str, Any]:
    """Run a Python program with the standard library, without a network. It starts in a folder with the files given, a
    text each, or {"base64": DATA}. What comes back: "stdout"; "result", the value of the last line where that is an
    expression; "error", the traceback if it failed; "files", those that it wrote there."""
    os.mkdir(_FOLDER)
    os.chdir(_FOLDER)
    for name, content in (files or {}).items():
        _put(name, content)
    printed, result, error = _Printed(), None, None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            result = _plain(_run(code))
        except MemoryError:
            raise
        except SystemExit as end:
            error = None if end.code in (None, 0) else f"SystemExit: {end.code}"
        except BaseException as failure:
            error = _explain(failure)
    if printed.full:
        raise OverflowError(f"the program printed more than {_MOST_PRINTED} characters; write a file instead")
    given = files or {}
    changed = {name: content for name, content in _files() if given.get(name) != content}
    return {"stdout": printed.text(), "result": result, "error": error, "files": changed}


def _put(name: str, content: str | dict[str, str]) -> None:
    path = os.path.normpath(name)
    if not name or os.path.isabs(path) or path.split("/")[0] in ("..", ".") or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file in the working directory")
    data = content.encode() if isinstance(content, str) else base64.b64decode(content["base64"], validate=True)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "xb") as file:
        file.write(data)


def _run(code: str) -> object:
    """Run a program; the value of its last line where that is an expression."""
    linecache.cache[_PROGRAM] = (len(code), None, code.splitlines(keepends=True), _PROGRAM)
    tree = ast.parse(code, _PROGRAM)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(tree, _PROGRAM, "exec"), names)
    return eval(compile(ast.Expression(last.value), _PROGRAM, "eval"), names) if isinstance(last, ast.Expr) else None


def _plain(value: object) -> object:
    """A value as JSON, or else as Python shows it."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return _text(repr(value)[:_MOST_SHOWN])
    return value


def _explain(failure: BaseException) -> str:
    """The traceback, from the program's own first line on."""
    frames = failure.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != _PROGRAM:
        frames = frames.tb_next
    return _text("".join(traceback.format_exception(type(failure), failure, frames))[-_MOST_SHOWN:])


def _text(text: str) -> str:
    """Without halves of characters, which are no text elsewhere."""
    return text.encode(errors="replace").decode()


def _files() -> list[tuple[str, str | dict[str, str]]]:
    """The files in the working directory; nothing that only leads to one."""
    found = []
    for folder, _, names in os.walk(_FOLDER):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                shown = os.path.relpath(path, _FOLDER).encode(errors="surrogateescape").decode(errors="replace")
                found.append((shown, _read(path)))
    return sorted(found, key=lambda each: each[0])


def _read(path: str) -> str | dict[str, str]:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        data = file.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
