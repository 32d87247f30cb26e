"""Ten optimisation steps on stored batches, with the reference's optimizer, groups and schedules."""

import json
from pathlib import Path

import torch

import fixture
import models
import optimizers
import reference

STEPS, BATCH, TIME = 10, 2, 33
FINALS = (
    "transformer.wte.weight", "lm_head.weight", "transformer.h.0.attn.c_q.weight", "transformer.h.0.attn.ve_gate.weight",
    "transformer.h.2.attn.c_k.weight", "transformer.h.2.mlp.c_proj.weight", "value_embeds.0.weight", "resid_lambdas",
    "x0_lambdas", "smear_gate.weight", "smear_lambda", "backout_lambda",
)


def batches(arch: str) -> tuple[torch.Tensor, torch.Tensor]:
    """ids and targets [10, 2, 33] of sequences with something to learn: mostly next = 5·id + 3 mod 97."""
    vocab = models.CURRENT_CONFIG["vocab_size"]
    rows = models.tokens(f"trajectory {arch}", (STEPS, BATCH, TIME + 1))
    surprise = fixture.seeded(f"surprise {arch}", tuple(rows.shape), 1.0) > 1.0
    for t in range(1, TIME + 1):
        rows[..., t] = torch.where(surprise[..., t], rows[..., t], (5 * rows[..., t - 1] + 3) % vocab)
    ids, targets = rows[..., :-1].contiguous(), rows[..., 1:].clone()
    targets[fixture.seeded(f"masked {arch}", tuple(targets.shape), 1.0) > 1.5] = -1
    return ids, targets


def make_optimizer(checkout: Path, oracle: models.Oracle) -> tuple[torch.optim.Optimizer, list[dict]]:
    """MuonAdamW over the oracle's parameters, and its groups in words."""
    _, optim = reference.load_current(checkout)
    groups = []
    for own in optimizers.groups(checkout).values():
        names = [name for name in own["names"] if name in oracle.params]
        if names:
            groups.append({**own, "names": names})
    missing = set(oracle.params) - {name for group in groups for name in group["names"]}
    if missing:
        raise SystemExit(f"no optimizer group holds {sorted(missing)}")
    real = [
        {k: v for k, v in group.items() if k != "names"} | {"params": [oracle.params[n] for n in group["names"]]}
        for group in groups
    ]
    optimizer = optim.MuonAdamW(real)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer, groups


def trajectory(checkout: Path, oracle: models.Oracle) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and header of trajectory_<arch>.safetensors. Changes the oracle's weights."""
    plan = reference.base_train(checkout, "--depth=4", f"--num-iterations={STEPS}")
    decay = {"weight_decay_scaled": plan["args"].weight_decay}  # as at the reference batch and horizon
    plan["get_weight_decay"].__globals__.update(decay)
    models.fill(oracle.params)
    optimizer, groups = make_optimizer(checkout, oracle)
    ids, targets = batches(oracle.arch)
    losses, steps = [], []
    for step in range(STEPS):
        nll, _, _ = models.evaluate(oracle, ids[step], targets[step])
        losses.append((nll.double().sum() / (targets[step] >= 0).sum()).float())
        now = {
            "lr_multiplier": plan["get_lr_multiplier"](step), "muon_momentum": plan["get_muon_momentum"](step),
            "muon_weight_decay": plan["get_weight_decay"](step),
        }
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * now["lr_multiplier"]
            if group["kind"] == "muon":
                group.update(momentum=now["muon_momentum"], weight_decay=now["muon_weight_decay"])
        optimizer.step()
        steps.append(now)
    out = {"ids": ids, "targets": targets, "losses": torch.stack(losses)}
    out |= {f"final.{name}": oracle.params[name].detach().clone() for name in FINALS if name in oracle.params}
    plain = [{k: v for k, v in g.items() if k not in ("momentum", "ns_steps")} for g in groups]
    for group in plain:
        if group["kind"] == "muon":
            del group["weight_decay"]  # set at every step
    hyper = {"start": f"parity_{oracle.arch.replace('-', '_')}.safetensors", "groups": plain, "steps": steps}
    return out, {**oracle.header, "config": json.dumps(oracle.config), "hyperparameters": json.dumps(hyper)}
