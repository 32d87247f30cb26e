"""init_*.json: the distribution of every parameter at the start, as REFERENCE.md §3 has it, and as measured.

The distributions are written down here from the specification and then held against the reference's own
initialisation; a table that the reference contradicts is not written.
"""

import math
from pathlib import Path

import torch

import models
import reference

CURRENT = dict(
    sequence_len=512, vocab_size=1000, n_layer=4, n_head=2, n_kv_head=1, n_embd=256, window_pattern="SSSL",
)
CLASSIC = dict(sequence_len=512, vocab_size=1000, n_layer=4, n_head=2, n_kv_head=1, n_embd=256)
# A sample of n values has a mean within a few σ/√n, and a deviation within a few σ/√(2n), of the truth.
SIGMAS = 5.0


def normal(std: float) -> dict:
    """N(0, std²)."""
    return {"kind": "normal", "mean": 0.0, "std": std, "min": None, "max": None}


def uniform(low: float, high: float) -> dict:
    """Uniform on [low, high]."""
    return {"kind": "uniform", "mean": (low + high) / 2, "std": (high - low) / math.sqrt(12), "min": low, "max": high}


def values(fixed: list[float]) -> dict:
    """Exactly these values."""
    tensor = torch.tensor(fixed, dtype=torch.float64)
    return {
        "kind": "values", "mean": float(tensor.mean()), "std": float(tensor.std(correction=0)),
        "min": min(fixed), "max": max(fixed), "values": fixed,
    }


def expected_current(name: str, shape: tuple[int, ...]) -> dict:
    """2026-07."""
    layers = CURRENT["n_layer"]
    bound = math.sqrt(3.0 / CURRENT["n_embd"])
    if name == "transformer.wte.weight":
        return normal(0.8)
    if name == "lm_head.weight":
        return normal(0.001)
    if name == "resid_lambdas":
        return values([1.15 - 0.10 * i / (layers - 1) for i in range(layers)])
    if name == "x0_lambdas":
        return values([0.20 - 0.15 * i / (layers - 1) for i in range(layers)])
    if name in ("smear_lambda", "backout_lambda"):
        return values([0.0 if name == "smear_lambda" else 0.2])
    if name.endswith("c_proj.weight"):
        return {**values([0.0]), "kind": "zero"}
    if name.endswith("gate.weight"):
        return uniform(0.0, 0.02)
    if name.endswith("mlp.c_fc.weight"):
        return uniform(-0.4 * bound, 0.4 * bound)
    return uniform(-bound, bound)  # c_q, c_k, c_v and the value embeddings


def expected_classic(name: str, shape: tuple[int, ...]) -> dict:
    """2025-10."""
    if name == "transformer.wte.weight":
        return normal(1.0)
    if name == "lm_head.weight" or name.endswith("c_proj.weight"):
        return {**values([0.0]), "kind": "zero"}
    fan_out, fan_in = shape
    return normal(min(1.0, math.sqrt(fan_out / fan_in)) / math.sqrt(fan_in))


def measure(name: str, param: torch.Tensor, expected: dict) -> dict:
    """The reference's own statistics; stops if they contradict `expected`."""
    sample = param.detach().double().flatten()
    found = {
        "mean": float(sample.mean()), "std": float(sample.std(correction=0)),
        "min": float(sample.min()), "max": float(sample.max()),
    }
    root = math.sqrt(sample.numel())
    exact = expected["kind"] in ("zero", "values")
    slack = 1e-7 if exact else SIGMAS * expected["std"] / root
    bounded = expected["min"] is None or (
        found["min"] >= expected["min"] - 1e-7 and found["max"] <= expected["max"] + 1e-7
    )
    if abs(found["mean"] - expected["mean"]) > slack or abs(found["std"] - expected["std"]) > slack or not bounded:
        raise SystemExit(f"{name}: expected {expected}, but the reference has {found}")
    return found


def table(model: torch.nn.Module, config: dict, expect) -> dict[str, object]:
    """The content of one file, without its header."""
    params = {}
    for name, param in model.named_parameters():
        expected = expect(name, tuple(param.shape))
        found = {key: float(f"{value:.6g}") for key, value in measure(name, param, expected).items()}
        params[name] = {"shape": list(param.shape), "expected": expected, "measured": found}
    return {"config": config, "params": params}


def initial_current(checkout: Path) -> dict[str, object]:
    """init_2026_07.json."""
    gpt, _ = reference.load_current(checkout)
    torch.manual_seed(42)
    model = models.quietly(lambda: gpt.GPT(gpt.GPTConfig(**CURRENT)))
    model.init_weights()
    return table(model, {"arch": "2026-07", **CURRENT}, expected_current)


def initial_classic(checkout: Path) -> dict[str, object]:
    """init_2025_10.json."""
    gpt = reference.load_classic(checkout)
    torch.manual_seed(42)
    model = gpt.GPT(gpt.GPTConfig(**CLASSIC))
    model.init_weights()
    return table(model, {"arch": "2025-10", **CLASSIC}, expected_classic)
