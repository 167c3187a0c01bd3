import bz2
import gzip
import lzma

import pyarrow
import pytest

from textvae.data.open_text import lines_of
from textvae.errors import InputError

LINES = ["007\n", "naïve 文 🙂\n", "last"]
WRITERS = {
    ".gz": lambda path: gzip.open(path, "wb"),
    ".bz2": lambda path: bz2.open(path, "wb"),
    ".xz": lambda path: lzma.open(path, "wb"),
    ".zst": lambda path: pyarrow.CompressedOutputStream(str(path), "zstd"),
}


def test_lines_end_where_files_of_any_system_end_them(tmp_path):
    (tmp_path / "a.txt").write_bytes("a\u2028b\r\nc\rd\n\x0ce".encode())
    assert [*lines_of(tmp_path / "a.txt")] == ["a\u2028b\r\n", "c\r", "d\n", "\x0ce"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_are_told_by_their_mark(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("".join(LINES).encode(encoding))
    assert [*lines_of(tmp_path / "a.txt")] == LINES


@pytest.mark.parametrize("suffix", WRITERS)
def test_compressed_files_are_read_and_broken_ones_refused(tmp_path, suffix):
    path, cut, fake = (tmp_path / f"{name}.txt{suffix}" for name in ("whole", "cut", "fake"))
    with WRITERS[suffix](path) as file:
        file.write("".join(LINES).encode())
    assert [*lines_of(path)] == LINES
    cut.write_bytes(path.read_bytes()[:-6])
    fake.write_bytes(b"plain text, not compressed\n")
    for broken in (cut, fake):
        with pytest.raises(InputError, match=f"{broken.name} could not be read"):
            list(lines_of(broken))


@pytest.mark.parametrize(
    ("start", "bad", "encoding"),
    [
        ("", b"\xe9", "UTF-8"),
        ("\ufeff", b"\xe2\x82", "UTF-8"),
        ("", "\ud800".encode("utf-16-le", "surrogatepass"), "UTF-16"),
    ],
)
@pytest.mark.parametrize("line", [1, 7_777])
def test_what_cannot_be_decoded_is_named_by_its_line(tmp_path, start, bad, encoding, line):
    name = "utf-16" if encoding == "UTF-16" else "utf-8"
    (tmp_path / "a.txt").write_bytes((start + "née\n" * (line - 1)).encode(name) + bad)
    with pytest.raises(InputError, match=f"a.txt, line {line} is not {encoding}"):
        list(lines_of(tmp_path / "a.txt"))
