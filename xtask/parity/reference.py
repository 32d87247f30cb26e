"""Loads the reference as an oracle: the checkout itself (2026-07) and older files from its history (2025-10).

Nothing of the reference is kept here: its modules are imported from the checkout, and of its training
scripts, which cannot be imported, single statements are run where they lie, picked out by the names they bind.
"""

import argparse
import ast
import contextlib
import io
import math
import subprocess
import sys
import types
from pathlib import Path

import torch

CURRENT = "92d63d4e8bb4df75c3b71618f31ddde2378b2bcd"
CLASSIC = "3a5e0bc50b123f37220f1ace6813f080455d19f3"
NAME = "karpathy/nanochat"


def source(reference: Path, commit: str, path: str) -> str:
    """The text of one file of the reference at one commit."""
    words = ["git", "-C", str(reference), "show", f"{commit}:{path}"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def load_current(reference: Path) -> tuple[types.ModuleType, types.ModuleType]:
    """The 2026-07 modules `nanochat.gpt` and `nanochat.optim`, in f32 (NANOCHAT_DTYPE is set by the caller)."""
    if str(reference) not in sys.path:
        sys.path.insert(0, str(reference))
    import nanochat.common
    import nanochat.gpt
    import nanochat.optim

    if nanochat.common.COMPUTE_DTYPE != torch.float32:
        raise SystemExit("run with NANOCHAT_DTYPE=float32")
    return nanochat.gpt, nanochat.optim


def load_classic(reference: Path) -> types.ModuleType:
    """The 2025-10 `nanochat/gpt.py`, without its assertions (one insists on bf16 rotary tables)."""
    load_current(reference)
    # Its two optimizers are gone from the checkout and not needed: our program trains both models with one.
    for name, classes in {"muon": ["Muon", "DistMuon"], "adamw": ["DistAdamW"]}.items():
        stub = types.ModuleType(f"nanochat.{name}")
        for cls in classes:
            setattr(stub, cls, type(cls, (), {}))
        sys.modules[stub.__name__] = stub
    module = types.ModuleType("nanochat_2025_10_gpt")
    sys.modules[module.__name__] = module  # dataclasses look their module up by name
    text = source(reference, CLASSIC, "nanochat/gpt.py")
    exec(compile(text, "gpt.py of 2025-10", "exec", optimize=1), module.__dict__)
    return module


def run_named(text: str, names: set[str], namespace: dict[str, object]) -> None:
    """Run those top-level statements of `text` that bind one of `names` (or fill `parser`), in their order."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            bound = {node.name}
        elif isinstance(node, (ast.Assign, ast.If)):
            bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        elif isinstance(node, ast.Expr) and ast.unparse(node).startswith("parser.add_argument"):
            bound = {"parser"}
        else:
            continue
        if bound & names:
            exec(compile(ast.Module([node], []), "base_train.py", "exec"), namespace)


def base_train(reference: Path, *flags: str, vocab_size: int = 32768) -> dict[str, object]:
    """What 2026-07 `scripts/base_train.py` computes before its first step, for these command-line flags.

    Among the names: args, model (on the meta device), target_tokens, total_batch_size, batch_lr_scale,
    weight_decay_scaled, num_iterations, get_lr_multiplier, get_muon_momentum, get_weight_decay.
    """
    gpt, _ = load_current(reference)
    text = source(reference, CURRENT, "scripts/base_train.py")
    space: dict[str, object] = {
        "argparse": argparse, "math": math, "torch": torch, "print0": lambda *_: None,
        "GPT": gpt.GPT, "GPTConfig": gpt.GPTConfig, "vocab_size": vocab_size,
    }
    saved, sys.argv = sys.argv, ["base_train", *flags]
    try:
        run_named(text, {"parser", "args"}, space)
    finally:
        sys.argv = saved
    with contextlib.redirect_stdout(io.StringIO()):
        run_named(text, {"build_model_meta", "get_scaling_params"}, space)
        space["model"] = space["build_model_meta"](space["args"].depth)
        run_named(text, {
            "param_counts", "num_params", "num_flops_per_token", "num_scaling_params", "target_tokens",
            "d12_ref", "D_REF", "B_REF", "total_batch_size", "batch_ratio", "batch_lr_scale",
            "weight_decay_scaled", "num_iterations", "total_tokens",
            "get_lr_multiplier", "get_muon_momentum", "get_weight_decay",
        }, space)
    return space


def base_train_classic(reference: Path, depth: int, vocab_size: int = 65536) -> dict[str, object]:
    """What 2025-10 `scripts/base_train.py` computes before its first step, with its own defaults."""
    gpt = load_classic(reference)
    text = source(reference, CLASSIC, "scripts/base_train.py")
    space: dict[str, object] = {"print0": lambda *_: None, "vocab_size": vocab_size, "depth": depth}
    run_named(text, {
        "max_seq_len", "target_flops", "target_param_data_ratio", "total_batch_size",
        "num_layers", "model_dim", "num_heads", "num_kv_heads", "model_config_kwargs",
    }, space)
    with torch.device("meta"):
        space["model"] = gpt.GPT(gpt.GPTConfig(**space["model_config_kwargs"]))
    run_named(text, {"num_params", "num_flops_per_token", "num_iterations", "total_tokens"}, space)
    return space
