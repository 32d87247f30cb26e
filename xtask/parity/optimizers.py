"""Three steps of the reference's AdamW and Muon on stored gradients."""

import json
from pathlib import Path

import torch

import fixture
import models
import reference

STEPS = 3
# Per step, the momentum and the decay the trainer would set; far apart so that using a stale one shows.
MOMENTUM = [0.85, 0.91, 0.97]
MUON_DECAY = [0.28, 0.2, 0.11]
LR_MULTIPLIER = [0.25, 1.0, 0.6]
MUON_SHAPES = {
    "tall": (24, 8), "wide": (8, 24), "square": (16, 16), "gate": (2, 12), "row": (1, 12), "zero_start": (8, 12),
}


def run(checkout: Path, group: dict, param: torch.Tensor, grads: list[torch.Tensor], per_step: list[dict]) -> list:
    """The parameter after each step of the reference's optimizer."""
    _, optim = reference.load_current(checkout)
    weight = torch.nn.Parameter(param.clone())
    optimizer = optim.MuonAdamW([{**group, "params": [weight]}])
    after = []
    for grad, changes in zip(grads, per_step, strict=True):
        weight.grad = grad.clone()
        optimizer.param_groups[0].update(changes)
        optimizer.step()
        after.append(weight.detach().clone())
    return after


def store(out: dict, case: str, param: torch.Tensor, grads: list[torch.Tensor], after: list[torch.Tensor]) -> None:
    """Put one case into the fixture."""
    out[f"{case}.param0"] = param
    for i in range(STEPS):
        out[f"{case}.grad{i}"] = grads[i]
        out[f"{case}.param{i + 1}"] = after[i]


def groups(checkout: Path) -> dict[str, dict]:
    """The reference's own parameter groups, at its base rates, by the first parameter each holds."""
    gpt, _ = reference.load_current(checkout)
    model = models.quietly(lambda: gpt.GPT(gpt.GPTConfig(**models.CURRENT_CONFIG)))
    args = reference.base_train(checkout, "--depth=4")["args"]
    optimizer = models.quietly(lambda: model.setup_optimizer(
        unembedding_lr=args.unembedding_lr, embedding_lr=args.embedding_lr, scalar_lr=args.scalar_lr,
        matrix_lr=args.matrix_lr, weight_decay=args.weight_decay,
    ))
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(group["params"][0])]: {k: v for k, v in group.items() if k not in ("params", "initial_lr")}
        | {"names": [names[id(p)] for p in group["params"]]}
        for group in optimizer.param_groups
    }


def optimizer_fixture(checkout: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and header of optimizer.safetensors."""
    out: dict[str, torch.Tensor] = {}
    cases: dict[str, dict] = {}
    adamw = {
        "head": "lm_head.weight", "embedding": "transformer.wte.weight", "value_embedding": "value_embeds.0.weight",
        "resid": "resid_lambdas", "x0": "x0_lambdas", "smear": "smear_gate.weight",
    }
    own = groups(checkout)
    for case, first in adamw.items():
        group = {k: v for k, v in own[first].items() if k != "names"}
        per_step = [{"lr": group["lr"] * scale} for scale in LR_MULTIPLIER]
        for kind, shape in (("matrix", (7, 5)), ("vector", (3,))):
            name = f"adamw.{case}.{kind}"
            # Weights of the size of a step, so that the change is not lost in the rounding of the weight.
            param = fixture.seeded(name, shape, 2.0 * group["lr"])
            grads = [fixture.seeded(f"{name}.grad{i}", shape, 0.05) for i in range(STEPS)]
            if kind == "matrix":
                for grad in grads:
                    grad[2] = 0.0  # the row of an id that never occurs
                    grad[3] *= 1e-8  # so small that eps counts
            store(out, name, param, grads, run(checkout, group, param, grads, per_step))
            cases[name] = {
                "betas": list(group["betas"]), "eps": group["eps"], "weight_decay": group["weight_decay"],
                "lr": [step["lr"] for step in per_step],
            }
    muon = next(group for group in own.values() if group["kind"] == "muon")
    muon = {k: v for k, v in muon.items() if k != "names"}
    per_step = [
        {"lr": muon["lr"] * LR_MULTIPLIER[i], "momentum": MOMENTUM[i], "weight_decay": MUON_DECAY[i]}
        for i in range(STEPS)
    ]
    for case, shape in MUON_SHAPES.items():
        name = f"muon.{case}"
        param = fixture.seeded(name, shape, 0.3)
        grads = [fixture.seeded(f"{name}.grad{i}", shape, 0.01) for i in range(STEPS)]
        if case == "zero_start":
            grads[0].zero_()  # what the reference's initialisation gives: the projections behind are zero
        store(out, name, param, grads, run(checkout, muon, param, grads, per_step))
        cases[name] = {"beta2": muon["beta2"]} | {k: [step[k] for step in per_step] for k in per_step[0]}
    header = fixture.about(reference.NAME, reference.CURRENT)
    return out, {**header, "hyperparameters": json.dumps(cases)}
