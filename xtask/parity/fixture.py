"""The fixture format: one safetensors file per subject, the same bytes on every run.

Knows nothing of models. The layout is described in xtask/src/parity.rs; the writer is ours because the
official one orders the metadata at random, and these files are committed.
"""

import hashlib
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

COMMAND = "cargo xtask parity --reference DIR"
_DTYPES = {np.dtype("<f4"): "F32", np.dtype("<i4"): "I32"}


def seeded(name: str, shape: tuple[int, ...], std: float, mean: float = 0.0) -> torch.Tensor:
    """Normal values that depend on `name` alone, so a new tensor never shifts the others."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return torch.from_numpy((mean + std * rng.standard_normal(shape)).astype(np.float32))


def about(reference: str, commit: str, **extra: str) -> dict[str, str]:
    """The part of the header that says where the numbers come from."""
    return {
        "command": COMMAND,
        "numpy_version": np.__version__,
        "reference": reference,
        "reference_commit": commit,
        "torch_version": torch.__version__.split("+")[0],
        **extra,
    }


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write `tensors` (f32, or integers as i32) in order of name, with `metadata` and a sha256 over them all."""
    header: dict[str, object] = {}
    digest = hashlib.sha256()
    chunks = []
    offset = 0
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().numpy()
        target = "<f4" if np.issubdtype(values.dtype, np.floating) else "<i4"
        values = np.ascontiguousarray(values.astype(target))
        if target == "<f4" and not np.isfinite(values).all():
            raise SystemExit(f"{path.name}: {name} holds values that are not finite")
        raw = values.tobytes()
        dtype = _DTYPES[values.dtype]
        shape = ",".join(map(str, values.shape))
        digest.update(f"{name}\n{dtype}\n{shape}\n".encode())
        digest.update(raw)
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, offset + len(raw)]}
        chunks.append(raw)
        offset += len(raw)
    metadata = {**metadata, "sha256": digest.hexdigest()}
    header = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def write_json(path: Path, content: dict[str, object]) -> None:
    """Write `content` as indented JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n")
