"""A hostile file runs nothing, takes bounded memory, and is refused in one line."""

import builtins
import io
import os
import pickle
import random
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import pytest
import torch

from privfed.cli.model_files import inert_pickle, layout_in
from privfed.cli.model_files.bounded import MOST_AT_ONCE
from privfed.errors import ConfigError
from tests.cli.model_files.files import SAVERS, model, pickle_in, save_numpy, torch_zip
from tests.mutations import KINDS, mutations

RUN = "nothing of it was run|none of it was run|damaged"


class Calls:
    """Something whose pickle calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


def payloads(mark: Path) -> dict[str, Any]:
    """Objects that make a file when their pickle is read."""
    python = f"open({str(mark)!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, f"touch {mark}"),
        "eval": Calls(builtins.eval, f"__import__('os').mkdir({str(mark)!r})"),  # noqa: S307
        "exec": Calls(builtins.exec, python),
        "open": Calls(builtins.open, str(mark), "w"),
        "mkdir": Calls(os.mkdir, str(mark)),
        "within a state_dict": {"w": torch.zeros(2), "hook": Calls(os.mkdir, str(mark))},
        "in a checkpoint": {"model": model().state_dict(), "x": [Calls(os.mkdir, str(mark))]},
    }


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the planted `open`
@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("name", payloads(Path("mark")))
def test_what_a_pickle_calls_is_not_run(tmp_path: Path, name: str, protocol: int) -> None:
    mark = tmp_path / "mark"
    torch.save(payloads(mark)[name], tmp_path / "file", pickle_protocol=protocol)
    with pytest.raises(ConfigError, match=r"asks for .*nothing of it was run"):
        layout_in(tmp_path / "file", ["model"])
    assert not mark.exists()
    torch.load(tmp_path / "file", weights_only=False)
    assert mark.exists()  # the payload is a real one


def test_each_instruction_that_can_run_something_is_refused(tmp_path: Path) -> None:
    """By every way that a pickle has to name, make or change an object."""
    mark = str(tmp_path / "mark").encode()
    made = b"X" + struct.pack("<I", len(mark)) + mark
    os_module = os.mkdir.__module__.encode()
    programs = {
        "INST": b"(" + made + b"i" + os_module + b"\nmkdir\n.",
        "OBJ": b"(c" + os_module + b"\nmkdir\n" + made + b"o.",
        "NEWOBJ": b"c" + os_module + b"\nmkdir\n" + made + b"\x85\x81.",
        "NEWOBJ_EX": b"c" + os_module + b"\nmkdir\n" + made + b"\x85}\x92.",
        "NEWOBJ of ours": b"ccollections\nOrderedDict\n)\x81.",
        "EXT1": b"\x82\x01.",
        "PERSID": b"Pstorage\n.",
        "DUP": b"]2.",
        "BYTEARRAY8": b"\x96" + struct.pack("<Q", 1 << 62) + b".",
        "BUILD of a list": b"]}b.",
        "BUILD of a name": b"ctorch\nSize\n}b.",
        "call of a type": b"ctorch\nFloatStorage\n)R.",
        "call of a dict": b"})R.",
        "item of a number": b"K\x01K\x02a.",
        "items of a number": b"K\x01(K\x02e.",
        "dotted name": b"ctorch\nos.system\n" + made + b"\x85R.",
        "name of a name": b"\x80\x04ctorch\nSize\n\x8c\x06system\x93.",
        "no storage": b"(X\x06\0\0\0modulectorch\nFloatStorage\nX\x01\0\0\x000tQ.",
        "tensor of no storage": b"ctorch._utils\n_rebuild_tensor_v2\n(}K\0))\x89}tR.",
        "tensor without a size": b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
    }
    for name, program in programs.items():
        path = torch_zip(program, tmp_path / "file")
        with pytest.raises(ConfigError, match=RUN):
            layout_in(path)
        assert not (tmp_path / "mark").exists(), name
    for name in ("INST", "OBJ"):  # these two are whole programs
        (tmp_path / "mark").exists() or pickle.loads(programs[name])  # noqa: S301
        (tmp_path / "mark").rmdir()


def tensor(sides: bytes) -> bytes:
    """A state_dict of one tensor, whose size is what a piece of a pickle leaves."""
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQ"
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + sides + b")\x89}tR"
    return b"\x80\x02}X\x01\0\0\0w" + made + b"s."


LARGE = b"\x8a\x05" + (10**9).to_bytes(5, "little")
SIDES = {
    "forty sides of 10^9": b"(" + LARGE * 40 + b"t",
    "a hundred sides": b"(" + b"K\x01" * 100 + b"t",
    "two sides of 10^9": b"(" + LARGE * 2 + b"t",
    "a side of 2^2000": b"\x8a\xfb" + (1 << 2000).to_bytes(251, "little") + b"\x85",
    "a side below 0": b"J\xff\xff\xff\xff\x85",
    "a side of True": b"\x88\x85",
    "a side of text": b"X\x01\0\0\x001\x85",
    "no tuple": b"]",
}


@pytest.mark.parametrize("name", SIDES)
def test_shapes_that_no_array_has_are_refused(tmp_path: Path, name: str) -> None:
    path = torch_zip(tensor(SIDES[name]), tmp_path / "file")
    with pytest.raises(ConfigError, match=r"a shape|at most 32|1 to 1000000000 values|damaged"):
        layout_in(path)
    assert layout_in(torch_zip(tensor(b"K\x02\x85"), tmp_path / "good")).size == 2


DOUBLED = b")q\0" + b"h\0\x86q\0" * 200  # of 2^200 things, if they were looked at


FEW = 200
MANY = b"K\x01" * 50_000


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


# Each goes through much that was made once, again and again: 10^7 steps or bytes for FEW of them.
REPEATED = {
    "size": b"ctorch\nSize\nq\0(" + MANY + b"tq\1" + b"h\0h\1\x85R" * FEW,
    "arguments": b"ctorch\ndevice\nq\0(" + MANY + b"tq\1" + b"h\0h\1R" * FEW,
    "storage": b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + MANY + b"tq\1" + b"h\1Q" * FEW,
    "class in class": b"ctorch._tensor\n_rebuild_from_type_v2\nq\0(ctorch\ndevice\nN)Ntq\1"
    + b"(h\0Nh\1Ntq\1" * FEW
    + b"h\0h\1R" * FEW,
}


@pytest.mark.parametrize("name", REPEATED)
def test_no_step_goes_through_what_many_steps_made(name: str) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        inert_pickle.held(b"\x80\x02" + REPEATED[name] + b".")


def test_numbers_of_one_hash_are_no_keys_of_one_hash() -> None:
    modulus = sys.hash_info.modulus
    pairs = b"".join(
        b"\x8a\x0a" + (modulus * each).to_bytes(10, "little") + b"N" for each in (1, 2)
    )
    found = inert_pickle.held(b"\x80\x02}(" + pairs + b"u.")
    assert isinstance(found, dict)
    assert [repr(each) for each in found] == [str(modulus), str(2 * modulus)]
    assert len(set(map(hash, found))) == 2


@pytest.mark.parametrize("within", [b"]q\0", b"}q\0"])
def test_what_a_file_holds_is_not_shown_beyond_a_few_names(tmp_path: Path, within: bytes) -> None:
    """Tuples of tuples of 2^200 things, in a list or a dict in the place of a checkpoint."""
    ends = {b"]q\0": DOUBLED + b"a.", b"}q\0": text(b"w") + DOUBLED + b"s."}
    path = torch_zip(b"\x80\x02" + within + ends[within], tmp_path / "file")
    with pytest.raises(ConfigError, match="there is no key 'model'"):
        layout_in(path, ["model"])


def bombs(folder: Path) -> Iterator[Path]:
    """Files that claim, or unpack to, much more than they hold."""
    claims = {
        "bytes": b"\x8e" + struct.pack("<Q", 1 << 62),
        "text": b"\x8d" + struct.pack("<Q", 1 << 62),
        "short text": b"X" + struct.pack("<I", (1 << 32) - 1),
        "whole number": b"\x8b" + struct.pack("<I", (1 << 31) - 1),
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62),
        "kept": b"}r" + struct.pack("<I", (1 << 32) - 1) + b".",
        "dicts": b"}" * inert_pickle.MOST_STEPS + b"}",
        "marks": b"(" * 300_000 + b".",
        "nested": b")" + b"\x85" * 300_000 + b".",
        "doubled": DOUBLED + b".",
        "doubled as a key": b"}(" + DOUBLED + b"K\x01u.",
        "doubled as a shape": tensor(DOUBLED),
        "doubled as a name": DOUBLED + b"X\x01\0\0\0a\x93.",
        "itself": b"}q\0X\x01\0\0\0ah\0s.",
    }
    for name, program in claims.items():
        yield torch_zip(program, folder / f"claims {name}")
    yield torch_zip(bytes(1 << 28), folder / "packed pickle", zipfile.ZIP_DEFLATED)
    yield torch_zip(bytes(1 << 20), folder / "bzip2", zipfile.ZIP_BZIP2)
    yield torch_zip(bytes(1 << 20), folder / "lzma", zipfile.ZIP_LZMA)
    with zipfile.ZipFile(folder / "header", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        long = b"\x93NUMPY\x02\0" + struct.pack("<I", 1 << 28) + b" " * (1 << 28)
        archive.writestr("w.npy", long)
    yield folder / "header"
    with zipfile.ZipFile(folder / "many", "w") as archive:
        for number in range(2 * MOST_AT_ONCE // 60_000):
            archive.writestr(f"{number:060000}.npy", b"")
    yield folder / "many"
    for name, length in (("longest", (1 << 64) - 1), ("long", MOST_AT_ONCE + 1)):
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", length) + b"{")
            file.truncate(1 << 32)
        yield folder / name
    nested = b'{"w":' + b"[" * 100_000
    (folder / "deep").write_bytes(struct.pack("<Q", len(nested)) + nested)
    yield folder / "deep"


LIMITED = """
import pickle, resource, sys
from pathlib import Path
from privfed.cli.model_files import layout_in, torch_files
from privfed.errors import ConfigError
from privfed.secagg import Layout
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 250_000_000,) * 2)
"""


@pytest.mark.slow
def test_no_claim_is_believed(tmp_path: Path) -> None:
    """In a process that may have 250 MB beside what Python and numpy take."""
    files = [str(path) for path in bombs(tmp_path)]
    program = """
for path in sys.argv[1:]:
    try:
        print(layout_in(Path(path)))
    except ConfigError as error:
        print("refused:", error)
"""
    done = run([sys.executable, "-c", LIMITED + program, *files], capture_output=True, text=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == len(files) > 20
    for line, path in zip(lines, files, strict=True):
        assert line.startswith(f"refused: {path}: ")


@pytest.mark.parametrize(
    "careless",
    [
        "pickle.loads(b'}r' + b'\\xff' * 4 + b'.')",
        "torch_files.MOST_BYTES = 1 << 30; layout_in(Path('packed'))",
    ],
)
def test_who_believes_claims_runs_out_of_that_memory(tmp_path: Path, careless: str) -> None:
    torch_zip(bytes(1 << 28), tmp_path / "packed", zipfile.ZIP_DEFLATED)
    command = [sys.executable, "-c", LIMITED + careless]
    done = run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("MemoryError")


def test_a_member_that_is_a_link_is_no_link(tmp_path: Path) -> None:
    torch.save(model().state_dict(), tmp_path / "good")
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        link = zipfile.ZipInfo("archive/data.pkl")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(tmp_path / "good"))
    with pytest.raises(ConfigError, match="damaged"):
        layout_in(tmp_path / "file")


def test_what_waits_for_others_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ConfigError, match="no such file"):
            layout_in(path)


def test_a_name_twice_and_a_second_pickle_are_refused(tmp_path: Path) -> None:
    for name in ("archive/data.pkl", "other/data.pkl"):
        path = torch_zip(tensor(b"K\x02\x85"), tmp_path / "file")
        with zipfile.ZipFile(path, "a") as archive:
            if name in archive.namelist():
                with pytest.warns(UserWarning, match="Duplicate name"):
                    archive.writestr(name, tensor(b"K\x03\x85"))
            else:
                archive.writestr(name, tensor(b"K\x03\x85"))
        with pytest.raises(ConfigError, match=r"twice|one pickle in its place"):
            layout_in(path)


def test_arrays_of_safetensors_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    SAVERS["safetensors"](model().state_dict(), path)
    whole = path.read_bytes()
    for changed in (
        whole[:-1],
        whole.replace(b'"dtype":"F32"', b'"dtype":"F16"', 1),
        whole.replace(b'"dtype":"F32"', b'"dtype":"F4 "', 1),
        whole.replace(b'"dtype":"F32"', b'"dtype":12345', 1),
        whole.replace(b'"shape":[2]', b'"shape":[3]', 1),
        whole.replace(b'"shape":[2]', b'"shape":[9]', 1),
        whole.replace(b'"shape"', b'"sharp"', 1),
    ):
        assert changed != whole
        path.write_bytes(changed)
        with pytest.raises(
            ConfigError, match=r"longer or|not whole|none that can be|none of safetensors"
        ):
            layout_in(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"1," * 100 + b"), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': __import__('os').mkdir('x'), 'fortran_order': False, 'shape': (1,), }",
        b"(" * 9000,
        b"-" * 9000 + b"1",
        b"[" * 90 + b"]" * 90,
        b"\xff\xfe\0",
        b"{'descr': '<f4', 'fortran_order': False" + b", 'shape': (1,)" * 600 + b"}",
    ],
)
def test_headers_of_numpy_that_no_array_has_are_refused(tmp_path: Path, header: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        archive.writestr("w.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header)
    with pytest.raises(ConfigError, match=r"a shape|no header|holds|1 to 1000000000"):
        layout_in(tmp_path / "file")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.deep(normal=300, stated=10_000)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, kind: str, count: int) -> None:
    rng = random.Random(f"model files/{kind}")  # noqa: S311
    path = tmp_path / "file"
    whole = []
    for save in SAVERS.values():
        save(model().state_dict(), path)
        whole.append(path.read_bytes())
    save_numpy(path, {"w": np.zeros((2, 3))})
    whole.append(path.read_bytes())
    torch.save({"model": model().state_dict(), "epoch": 1}, path)
    pickled, refused = pickle_in(path), 0
    for data in whole:
        for changed in mutations(rng, data, kind, count // 7):
            path.write_bytes(changed)
            refused += _is_refused(path)
    for changed in mutations(rng, pickled, kind, count // 7):
        refused += _is_refused(torch_zip(changed, path))
    assert refused > 0


def _is_refused(path: Path) -> bool:
    try:
        layout_in(path, ["model"] if b"epoch" in path.read_bytes() else [])
    except ConfigError as error:
        return len(str(error).splitlines()) == 1 or pytest.fail(f"several lines: {error}")
    return False


def test_instructions_in_any_order_are_read_or_refused() -> None:
    rng = random.Random("inert pickle")  # noqa: S311
    pieces = [bytes([byte]) for byte in range(256)]
    buffer = io.BytesIO()
    torch.save(model().state_dict(), buffer)
    pieces += [tensor(b"K\x02\x85")[2:-1], b"h\0", b"q\0", b"K\x01", b"ctorch\nSize\n", b"}(", b"u"]
    for _ in range(20_000):
        program = b"".join(rng.choices(pieces, k=rng.randrange(1, 12))) + b"."
        try:
            inert_pickle.held(program)
        except ConfigError:
            continue
