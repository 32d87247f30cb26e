"""The two small models of the parity fixtures, with weights that leave no gradient at zero.

An `Oracle` gives logits for ids, and its parameters under nanochat's names, whichever library computes them.
"""

import contextlib
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

import fixture
import reference

# Five layers: value embeddings on 0, 2, 4; windows S S S L L (S = 128 of 151 positions); backout after 2.
# 151 positions and 97 ids are multiples of nothing.
CURRENT_CONFIG = dict(
    sequence_len=151, vocab_size=97, n_layer=5, n_head=4, n_kv_head=2, n_embd=48, window_pattern="SSSL",
)
CLASSIC_CONFIG = dict(sequence_len=151, vocab_size=97, n_layer=3, n_head=4, n_kv_head=2, n_embd=48)


@dataclass
class Oracle:
    """A reference model ready to run, and what the header of its fixtures says about it."""

    arch: str
    logits: Callable[[torch.Tensor], torch.Tensor]
    params: dict[str, torch.nn.Parameter]
    module: torch.nn.Module
    config: dict[str, object]
    header: dict[str, str]


def start_weights(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Generic starting weights: none zero, none so large that a tanh or a softmax is saturated."""
    width = CURRENT_CONFIG["n_embd"]
    std, mean = 1.0 / math.sqrt(width), 0.0
    if name.endswith("attn.c_q.weight") or name.endswith("attn.c_k.weight"):
        std *= 1.3
    elif name.endswith("mlp.c_proj.weight"):
        std *= 0.5
    elif name.endswith("ve_gate.weight") or name == "smear_gate.weight":
        std = 0.4
    elif name == "transformer.wte.weight":
        std = 0.8
    elif name.startswith("value_embeds."):
        std = 0.5
    elif name == "lm_head.weight":
        std = 0.35
    elif name == "resid_lambdas":
        std, mean = 0.1, 1.05
    elif name == "x0_lambdas":
        std, mean = 0.1, 0.25
    elif name in ("smear_lambda", "backout_lambda"):
        std, mean = 0.05, 0.4
    return fixture.seeded(name, shape, std, mean)


def fill(params: dict[str, torch.nn.Parameter]) -> None:
    """Overwrite the reference's initialisation, which zeroes most gradients."""
    with torch.no_grad():
        for name, param in params.items():
            param.copy_(start_weights(name, tuple(param.shape)))


def quietly(make: Callable[[], object]) -> object:
    """Run `make` without what the reference prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return make()


def current(checkout: Path) -> Oracle:
    """nanochat of 2026-07."""
    gpt, _ = reference.load_current(checkout)
    model = quietly(lambda: gpt.GPT(gpt.GPTConfig(**CURRENT_CONFIG)))
    model.init_weights()
    params = dict(model.named_parameters())
    fill(params)
    config = dict(
        arch="2026-07", **CURRENT_CONFIG, padded_vocab_size=model.lm_head.weight.shape[0],
        window_sizes=[left for left, _ in model.window_sizes],
    )
    return Oracle("2026-07", model, params, model, config, fixture.about(reference.NAME, reference.CURRENT))


_CLASSIC_NAMES = {
    "model.embed_tokens": "transformer.wte", "model.layers": "transformer.h", "self_attn.q_proj": "attn.c_q",
    "self_attn.k_proj": "attn.c_k", "self_attn.v_proj": "attn.c_v", "self_attn.o_proj": "attn.c_proj",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
}


def classic_name(theirs: str) -> str:
    """nanochat's name for a parameter of `transformers`."""
    for old, new in _CLASSIC_NAMES.items():
        theirs = theirs.replace(old, new)
    return theirs


def classic(checkout: Path) -> Oracle:
    """NanoChatForCausalLM of `transformers`, proven here to be nanochat of 2025-10 in f32."""
    import transformers

    if not hasattr(transformers, "NanoChatForCausalLM"):
        raise SystemExit(f"transformers {transformers.__version__} has no NanoChatForCausalLM; install 5.0 or newer")
    shape = CLASSIC_CONFIG
    theirs = transformers.NanoChatConfig(
        vocab_size=shape["vocab_size"], hidden_size=shape["n_embd"], intermediate_size=4 * shape["n_embd"],
        num_hidden_layers=shape["n_layer"], num_attention_heads=shape["n_head"],
        num_key_value_heads=shape["n_kv_head"], max_position_embeddings=shape["sequence_len"],
        rms_norm_eps=2.0**-23, final_logit_softcapping=15.0, attention_bias=False, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        # A padding id would freeze that row of the embedding; nanochat has none.
        bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )
    theirs._attn_implementation = "eager"
    model = transformers.NanoChatForCausalLM(theirs).float().train()
    params = {classic_name(name): param for name, param in model.named_parameters()}
    fill(params)
    header = fixture.about(
        "transformers NanoChatForCausalLM", reference.CLASSIC, transformers_version=transformers.__version__,
    )
    oracle = Oracle(
        "2025-10", lambda ids: model(input_ids=ids, use_cache=False).logits, params, model,
        dict(arch="2025-10", **shape, padded_vocab_size=shape["vocab_size"]), header,
    )
    prove_classic(checkout, oracle)
    return oracle


def prove_classic(checkout: Path, oracle: Oracle) -> None:
    """Stop unless nanochat of 2025-10, run in f32, gives the logits and gradients of `transformers`."""
    gpt = reference.load_classic(checkout)
    model = gpt.GPT(gpt.GPTConfig(**CLASSIC_CONFIG)).float()
    model.load_state_dict({name: param.detach() for name, param in oracle.params.items()})
    # Its rotary tables are bf16; ours and those of `transformers` are f32 in an f32 run.
    half = torch.arange(0, CLASSIC_CONFIG["n_embd"] // CLASSIC_CONFIG["n_head"], 2, dtype=torch.float32)
    speed = 10000.0 ** (-half / (CLASSIC_CONFIG["n_embd"] // CLASSIC_CONFIG["n_head"]))
    angle = torch.outer(torch.arange(CLASSIC_CONFIG["sequence_len"], dtype=torch.float32), speed)
    model.cos, model.sin = angle.cos()[None, :, None, :], angle.sin()[None, :, None, :]
    ids, targets = batch("2025-10")
    _, ours, grads = evaluate(oracle, ids, targets)
    twin = Oracle("2025-10", model, dict(model.named_parameters()), model, {}, {})
    _, theirs, twin_grads = evaluate(twin, ids, targets)
    worst = max(distance(theirs, ours), *(distance(twin_grads[name], grads[name]) for name in grads))
    if not worst < 2e-5:
        raise SystemExit(f"transformers and nanochat of 2025-10 disagree: relative difference {worst:.2e}")


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """‖a − b‖ / ‖b‖."""
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm())


def batch(arch: str) -> tuple[torch.Tensor, torch.Tensor]:
    """ids and targets [2, 151]; about a tenth of the targets are −1, among them a first and a last position."""
    config = CURRENT_CONFIG if arch == "2026-07" else CLASSIC_CONFIG
    shape = (2, config["sequence_len"])
    ids, targets = tokens(f"ids {arch}", shape), tokens(f"targets {arch}", shape)
    ignored = fixture.seeded(f"ignored {arch}", shape, 1.0) > 1.28
    ignored[0, 0] = ignored[1, -1] = True
    return ids, targets.masked_fill(ignored, -1)


def tokens(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Ids over the whole vocabulary, as `name` decides."""
    uniform = torch.special.ndtr(fixture.seeded(name, shape, 1.0).double())
    return (uniform * CURRENT_CONFIG["vocab_size"]).long().clamp_max(CURRENT_CONFIG["vocab_size"] - 1)


def losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Per-token cross-entropy [B, T], 0 where the target is −1."""
    flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="none")
    return flat.view(targets.shape)


def evaluate(
    oracle: Oracle, ids: torch.Tensor, targets: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """nll [B, T], logits [B, T, vocab] and the gradient of the mean loss for every parameter."""
    for param in oracle.params.values():
        param.grad = None
    logits = oracle.logits(ids)
    nll = losses(logits, targets)
    (nll.sum() / (targets >= 0).sum()).backward()
    return nll.detach(), logits.detach(), {name: param.grad for name, param in oracle.params.items()}


def parity(oracle: Oracle) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and header of parity_<arch>.safetensors."""
    ids, targets = batch(oracle.arch)
    nll, logits, grads = evaluate(oracle, ids, targets)
    check_own_loss(oracle, ids, targets, nll)
    out = {"ids": ids, "targets": targets, "logits": logits, "nll": nll}
    out["loss"] = (nll.double().sum() / (targets >= 0).sum()).float().reshape(1)
    for name, param in oracle.params.items():
        norm = float(grads[name].norm()) if grads[name] is not None else 0.0
        if not norm > 1e-6 or not bool((param != 0).all()):
            raise SystemExit(f"{oracle.arch}: {name} has gradient norm {norm} or a zero among its weights")
        out[f"param.{name}"] = param.detach().clone()
        out[f"grad.{name}"] = grads[name]
    return out, {**oracle.header, "config": json.dumps(oracle.config)}


def check_own_loss(oracle: Oracle, ids: torch.Tensor, targets: torch.Tensor, nll: torch.Tensor) -> None:
    """Where the reference computes losses itself, they must be those written."""
    if oracle.arch != "2026-07":
        return
    with torch.no_grad():
        own = oracle.module(ids, targets, loss_reduction="none").view(targets.shape)
        mean = oracle.module(ids, targets)
    if distance(own, nll) > 1e-6 or abs(float(mean) - float(nll.sum() / (targets >= 0).sum())) > 1e-5:
        raise SystemExit("the reference's own losses differ from those computed from its logits")
