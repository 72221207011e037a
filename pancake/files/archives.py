"""Named arrays and a text in one file: .npz or .safetensors.

Reading trusts nothing: no pickle, no evaluation of text, and no array before its bytes are known to be in the file.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = Mapping[str, NDArray[Any]]

TEXT = "pancake.json"  # the member of an .npz that holds the text
RESERVED = (TEXT, "__metadata__")  # what no array may be called
MAX_TEXT = 1 << 26  # bytes of text or of a safetensors header: parsing takes many times as much memory
MAX_AXES = 64  # of NumPy's arrays

# https://github.com/huggingface/safetensors#format
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
CODES = {np.dtype(descr): code for code, descr in DTYPES.items()}
BFLOAT16 = "BF16"  # which NumPy does not have: it is read, and never written


# What to do with a file of another library.
ADVICE = "and pass the arrays to load_state_dict of a model that you have made"


def storable(array: NDArray[Any]) -> bool:
    """Whether both formats can hold an array of this dtype."""
    return array.dtype.newbyteorder("<") in CODES


# --- .npz: a zip archive of .npy files, as np.savez writes it and np.load reads it, and a text beside them ---

# What np.save writes (numpy.lib.format, version 1.0), and nothing else that Python would also take for a dict.
_NPY = re.compile(
    rb"\{'descr': '(?P<descr>[<>|][a-z][0-9]{1,2})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:[0-9]{1,19},(?: [0-9]{1,19},?)*)?)\), \} *\n"
)


# What zipfile raises for damaged archives, besides ValueError.
_DAMAGED = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, LookupError, OverflowError, OSError, struct.error)


def write_npz(file: IO[bytes], text: str, arrays: Arrays) -> None:
    """Write an archive; the same contents give the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(TEXT), text.encode())
        for name, array in arrays.items():
            with archive.open(_member(name + ".npy"), "w", force_zip64=array.nbytes > 1 << 30) as member:
                np.lib.format.write_array(member, _little(array), version=(1, 0), allow_pickle=False)


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


def read_npz(path: str | os.PathLike[str]) -> tuple[str, dict[str, NDArray[Any]]]:
    """The text and the arrays of an archive.

    Raises
    ------
    ValueError
        If it is not whole, or is compressed, encrypted, or not one that `write_npz` could have written.
    """
    contents: dict[str, bytes] = {}
    with open(path, "rb") as file:
        available = os.fstat(file.fileno()).st_size
        try:
            archive = zipfile.ZipFile(file)
            if TEXT not in archive.namelist():
                raise ValueError(f"there is no {TEXT} in it, so save() has not written it; read it with np.load {ADVICE}")
            for member in archive.infolist():
                name, length = member.filename, member.file_size
                if name in contents:
                    raise ValueError(f"{name!r} is there twice")
                if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or length != member.compress_size:
                    raise ValueError(f"{name!r} is compressed or encrypted, and save() does neither")
                available -= length
                if available < 0:
                    raise ValueError(f"{name!r} is longer than the file")
                contents[name] = archive.read(member)
        except _DAMAGED as error:
            raise ValueError(f"it is not a whole .npz file ({error})") from None
    text = contents.pop(TEXT)
    if len(text) > MAX_TEXT:
        raise ValueError(f"{TEXT} has {len(text)} bytes, more than the {MAX_TEXT} that are sensible")
    for name in contents:
        if not name.endswith(".npy"):
            raise ValueError(f"{name!r} is not a name that save() gives")
    return text.decode(), {name.removesuffix(".npy"): _parse_npy(name, data) for name, data in contents.items()}


def _parse_npy(name: str, data: bytes) -> NDArray[Any]:
    start = 10 + int.from_bytes(data[8:10], "little")
    header = _NPY.fullmatch(data[10:start]) if data[:8] == b"\x93NUMPY\x01\x00" else None
    if header is None:
        raise ValueError(f"{name!r} is not an array as np.save writes it, in format version 1.0")
    descr = header["descr"].decode()
    if descr.replace(">", "<") not in DTYPES.values():
        raise ValueError(f"{name!r} has the dtype {descr!r}, which is not a number of at most 8 bytes")
    shape = tuple(int(length) for length in header["shape"].replace(b",", b" ").split())
    return _from_bytes(name, np.dtype(descr), shape, memoryview(data)[start:], "F" if header["fortran"] == b"True" else "C")


def _from_bytes(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], data: memoryview, order: Any = "C") -> NDArray[Any]:
    if len(shape) > MAX_AXES:  # first, as the product of very many numbers takes long
        raise ValueError(f"{name!r} has {len(shape)} axes, and an array has at most {MAX_AXES}")
    wanted = math.prod(shape) * dtype.itemsize  # of Python's integers, which do not overflow
    if wanted != len(data) or any(length >= 1 << 62 for length in shape):
        raise ValueError(f"{name!r} has the shape {shape} and the dtype {dtype}, for which {len(data)} bytes do not fit")
    array = np.frombuffer(data, dtype).reshape(shape, order=order)
    return array.astype(dtype.newbyteorder("="), copy=False)


# --- .safetensors: the length of a header, the header in JSON, all bytes one after the other ---


def write_safetensors(file: IO[bytes], text: str, arrays: Arrays) -> None:
    """Write an archive; the text and checksums of it and of the arrays are in the metadata."""
    stored = sorted(((name, _little(array)) for name, array in arrays.items()), key=lambda item: -item[1].itemsize)
    checksums = {TEXT: zlib.crc32(text.encode()), **{name: _checksum(array) for name, array in stored}}
    header: dict[str, Any] = {"__metadata__": {TEXT: text, "crc32": json.dumps(checksums)}}
    stop = 0
    for name, array in stored:
        start, stop = stop, stop + array.nbytes
        header[name] = {"dtype": CODES[array.dtype], "shape": array.shape, "data_offsets": [start, stop]}
    data = json.dumps(header, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    if len(data) > MAX_TEXT:
        raise ValueError(f"the header would have {len(data)} bytes, more than {MAX_TEXT}: too many arrays; use .npz")
    file.write(len(data).to_bytes(8, "little"))
    file.write(data)
    for _, array in stored:
        file.write(np.ascontiguousarray(array).reshape(-1).data)


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).data)


def read_safetensors(path: str | os.PathLike[str]) -> tuple[str, dict[str, NDArray[Any]]]:
    """The text and the arrays of an archive.

    Raises
    ------
    ValueError
        If it is not whole, or not one that `write_safetensors` could have written.
    """
    with open(path, "rb") as file:
        header, metadata = _read_header(file)
        if not isinstance(text := metadata.get(TEXT), str):
            raise ValueError(
                f"there is no {TEXT} in its metadata, so save() has not written it; "
                f"read it with safetensors.numpy.load_file {ADVICE}; or, of torch's names and layouts, all at once with "
                "pancake.torch.load_torch(model, path)"
            )
        arrays = _read_arrays(file, header, DTYPES)
    checksums = parse_json(metadata["crc32"]) if isinstance(metadata.get("crc32"), str) else {}
    for name, got in [(TEXT, zlib.crc32(text.encode())), *((name, _checksum(_little(a))) for name, a in arrays.items())]:
        if name in checksums and checksums[name] != got:
            raise ValueError(f"{name!r} is damaged: its checksum is wrong")
    return text, arrays


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The metadata and the arrays of any .safetensors file, whoever has written it; bfloat16 becomes float32.

    Raises
    ------
    ValueError
        If it is not whole, or holds arrays of a dtype that NumPy does not have.
    """
    with open(path, "rb") as file:
        header, metadata = _read_header(file)
        return metadata, _read_arrays(file, header, {**DTYPES, BFLOAT16: "<u2"})


def _read_header(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the header says of the arrays, and the metadata."""
    available = os.fstat(file.fileno()).st_size - 8
    length = int.from_bytes(file.read(8), "little")
    if available < 0 or length > available:
        raise ValueError(f"not a whole .safetensors file: its header would have {length} bytes, and {available} are there")
    if length > MAX_TEXT:
        raise ValueError(f"the header has {length} bytes, more than the {MAX_TEXT} that are sensible")
    header = parse_json(file.read(length).decode())
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    return header, metadata if isinstance(metadata, dict) else {}


def _read_arrays(file: IO[bytes], header: dict[str, Any], dtypes: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """The arrays, which must fill the rest of the file."""
    tensors = {name: _parse_tensor(name, entry, dtypes) for name, entry in header.items()}
    available = os.fstat(file.fileno()).st_size - file.tell()
    end = 0
    for start, stop in sorted((start, stop) for _, _, start, stop in tensors.values() if start != stop):
        if start != end:
            raise ValueError(f"there is a gap or an overlap between its arrays at byte {start}")
        end = stop
    if end != available:
        raise ValueError(f"its arrays have {end} bytes, and {available} are there")
    data = memoryview(file.read())
    arrays = {}
    for name, (code, shape, start, stop) in tensors.items():
        array = _from_bytes(name, np.dtype(dtypes[code]), shape, data[start:stop])
        # the upper half of the bits of a float32
        arrays[name] = (array.astype(np.uint32) << 16).view(np.float32) if code == BFLOAT16 else array
    return arrays


def _parse_tensor(name: str, entry: Any, dtypes: Mapping[str, str]) -> tuple[str, tuple[int, ...], int, int]:
    """The code of the dtype and the shape of an array, and where its bytes start and stop."""
    match entry:
        case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(start), int(stop)]}:
            if code not in dtypes:
                raise ValueError(
                    f"the header describes {name!r} by the dtype {code!r}, and only {', '.join(dtypes)} are read"[:300]
                )
            if all(type(length) is int and length >= 0 for length in shape) and 0 <= start <= stop:
                return code, tuple(shape), start, stop
    raise ValueError(f"the header describes {name!r} by {entry!r}"[:200] + ", which is no array")


# --- JSON ---


def format_json(value: Any) -> str:
    """A value as strict JSON that `parse_json` takes.

    Raises
    ------
    ValueError
        If it would be too long.
    """
    text = json.dumps(value, allow_nan=False)
    if len(text) > MAX_TEXT:
        raise ValueError(f"the description of the model has {len(text)} characters, more than {MAX_TEXT}")
    if _is_dense(text):
        raise ValueError("the description of the model is mostly small lists and dicts; keep large tables in arrays")
    return text


def parse_json(text: str) -> Any:
    """A value from strict JSON.

    Raises
    ------
    ValueError
        If it is not JSON, gives a name twice, holds nan or infinity, is nested too deeply, or consists of little but brackets.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a name stands in its JSON twice")
        return result

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} stands in its JSON, which has no such number")

    if _is_dense(text):
        raise ValueError("its JSON consists of little but brackets")
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _is_dense(text: str) -> bool:
    """Whether parsing would take more than about 20 times the memory of the text.

    Two characters are enough for an empty list, which takes 80 bytes; an object takes 200.
    """
    return text.count("[") + 2 * text.count("{") > len(text) // 6 + 100_000


# --- messages ---


def printable(text: str) -> str:
    """A text for a message: not very long, and without halves of characters, with which it could not be printed."""
    text = text[:1000].encode(errors="backslashreplace").decode()
    return text if len(text) <= 500 else text[:500] + "..."
