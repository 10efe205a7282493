"""From bytes to text: which encoding a file is in, and what is said where that cannot be known."""

import codecs
from pathlib import Path

from rosetune.data.tables import DataError, some

__all__ = ["read_encoded", "read_text"]

# The marks of UTF-32 come first: that of UTF-16 is their beginning.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_KINDS = (
    (b"PK\x03\x04", "a ZIP archive, perhaps an Excel workbook: save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save it as CSV"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
)


def read_text(path: Path, encoding: str | None = None) -> str:
    """The text of a file; see :func:`read_encoded`."""
    return read_encoded(path, encoding)[0]


def read_encoded(path: Path, encoding: str | None = None) -> tuple[str, str]:
    """The text of a file and the encoding that it was read in.

    A byte-order mark decides between UTF-8, UTF-16 and UTF-32; without one the file is UTF-8. Nothing else is guessed:
    a file that is not UTF-8 is refused, and the message shows how a line of it reads in CP1252, the encoding of
    Windows in Western Europe.

    Args:
        path: the file.
        encoding: one that Python knows ("cp1252", "utf-16-le"), or several with commas ("utf-8,cp1252"): then each
            line is read in the first that fits, for a file that was put together from several.

    Raises:
        DataError: the file cannot be opened, is in another encoding or is empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    for mark, kind in _OTHER_KINDS:
        if data.startswith(mark):
            raise DataError(f"{path} is {kind}")
    if encoding is None:
        name = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
        text = _decoded(path, data, name)
    else:
        name = encoding
        text = _in_any(path, data, [part.strip() for part in encoding.split(",")])
    text = text.removeprefix("\ufeff")
    if not text.strip("\r\n"):
        raise DataError(f"{path} is empty; name a file with rows")
    return text, name


def _decoded(path: Path, data: bytes, name: str) -> str:
    if name == "utf-8" and (wide := _wide(data)):
        raise DataError(
            f"{path} seems to be UTF-16 without a byte-order mark, since every other byte is zero; "
            f"pass --encoding {wide}, or save it as UTF-8"
        )
    try:
        return data.decode(name)
    except UnicodeDecodeError as error:
        if name != "utf-8":
            raise DataError(
                f"{path} has the byte-order mark of {name.upper()} but breaks off or is something else at byte "
                f"{error.start}; save it again, as UTF-8"
            ) from error
        raise DataError(_not_utf8(path, data, error.start)) from error


def _wide(data: bytes) -> str | None:
    """UTF-16, by the zeros of its first character, as in JSON's specification, or of most."""
    sample = data[:4096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) * 5 <= len(sample) and (len(data) < 2 or (data[0] == 0) is (data[1] == 0)):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _not_utf8(path: Path, data: bytes, start: int) -> str:
    end = b"\n" if b"\n" in data else b"\r"
    lines = data.split(end)
    line = data.count(end, 0, start) + 1
    foreign = [i for i, part in enumerate(lines, start=1) if not _fits(part, "utf-8")]
    place = f"{path}, line {line}: byte {start} is not UTF-8"
    if len(foreign) > 1:
        place += f" ({len(foreign)} such lines: {some(foreign)})"
    if not all(_fits(lines[i - 1], "cp1252") for i in foreign):
        return f"{place}, nor is it CP1252; pass its --encoding (for example cp1251, gb18030, shift_jis)"
    begin = max(0, start - sum(len(part) + 1 for part in lines[: line - 1]) - 20)
    shown = lines[line - 1].decode("cp1252")[begin : begin + 40].strip()
    mixed = any(_fits(part, "utf-8") and not part.isascii() for part in lines)
    chosen = "utf-8,cp1252" if mixed else "cp1252"
    both = "; other lines are UTF-8, so that the file mixes both" if mixed else ""
    convert = f", or convert the file: iconv -f CP1252 -t UTF-8 {path.name} > utf8{path.suffix}"
    return (
        f"{place}; in CP1252 (Windows, Western Europe) it reads {shown!r}{both}: if that is right, pass --encoding "
        f"{chosen}{'' if mixed else convert}; else pass the right one"
    )


def _fits(part: bytes, name: str) -> bool:
    try:
        text = part.decode(name)
    except UnicodeDecodeError:
        return False
    return name == "utf-8" or all(character >= " " or character in "\t\r" for character in text)


def _in_any(path: Path, data: bytes, names: list[str]) -> str:
    for name in names:
        try:
            compatible = "a\n".encode(name) == b"a\n"
        except (LookupError, ValueError) as error:
            raise DataError(f"{path}: {name!r} is no encoding that Python knows; try cp1252 or utf-16") from error
        if len(names) > 1 and not compatible:
            raise DataError(
                f"{path}: --encoding takes several for files that are read line by line, which {name} is not"
            )
    if len(names) == 1:
        return _in_first(path, data, names, 1)
    end = b"\n" if b"\n" in data else b"\r"
    lines = (_in_first(path, part, names, number) for number, part in enumerate(data.split(end), start=1))
    return end.decode().join(lines)


def _in_first(path: Path, part: bytes, names: list[str], number: int) -> str:
    start: int | None = None
    for name in names:
        try:
            return part.decode(name)
        except UnicodeError as error:
            start = getattr(error, "start", 0)
    line = part.count(b"\n", 0, start) + number
    raise DataError(f"{path}, line {line}: not in the encoding {' or '.join(names)}; pass the right --encoding")
