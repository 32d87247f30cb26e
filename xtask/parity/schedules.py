"""schedules.json: what the reference's own training scripts compute before and during a run."""

from pathlib import Path

import reference

HORIZONS = (10, 300, 1000, 5000)
CURRENT_DEPTHS = (4, 6, 8, 12, 20, 24, 26)
CLASSIC_DEPTHS = (4, 12, 20, 26, 32)


def at_horizon(checkout: Path, steps: int) -> dict[str, object]:
    """Learning-rate multiplier, Muon momentum and the share of its weight decay at telling steps of a run."""
    plan = reference.base_train(checkout, "--depth=4", f"--num-iterations={steps}")
    warmdown = steps - round(plan["args"].warmdown_ratio * steps)
    wanted = {0, 1, 5, 20, 38, 39, 40, 41, 100, 200, 398, 399, 400, 401, 777, steps // 2, steps - 2, steps - 1}
    wanted |= {warmdown - 1, warmdown, warmdown + 1} | (set(range(steps)) if steps <= 10 else set())
    return {
        "num_iterations": steps,
        "at": [
            {
                "step": step,
                "lr_multiplier": plan["get_lr_multiplier"](step),
                "muon_momentum": plan["get_muon_momentum"](step),
                "weight_decay_multiplier": plan["get_weight_decay"](step) / plan["weight_decay_scaled"],
            }
            for step in sorted(s for s in wanted if 0 <= s < steps)
        ],
    }


def current_depth(checkout: Path, depth: int, ratio: int) -> dict[str, object]:
    """Everything that follows from --depth and the ratio of tokens to parameters."""
    plan = reference.base_train(checkout, f"--depth={depth}", f"--target-param-data-ratio={ratio}")
    config = plan["model"].config
    return {
        "depth": depth, "target_param_data_ratio": ratio, "vocab_size": config.vocab_size,
        "sequence_len": config.sequence_len, "n_embd": config.n_embd, "n_head": config.n_head,
        "n_kv_head": config.n_kv_head, "window_sizes": [left for left, _ in plan["model"].window_sizes],
        "num_params": plan["param_counts"], "num_scaling_params": plan["num_scaling_params"],
        "target_tokens": plan["target_tokens"], "total_batch_size": plan["total_batch_size"],
        "num_iterations": plan["num_iterations"], "total_tokens": plan["total_tokens"],
        "batch_lr_scale": plan["batch_lr_scale"], "weight_decay_scaled": plan["weight_decay_scaled"],
        "flops_per_token": plan["num_flops_per_token"],
    }


def classic_depth(checkout: Path, depth: int) -> dict[str, object]:
    """The same for 2025-10, with its defaults."""
    plan = reference.base_train_classic(checkout, depth)
    model, config = plan["model"], plan["model"].config
    counts = {
        "wte": sum(p.numel() for p in model.transformer.wte.parameters()),
        "lm_head": sum(p.numel() for p in model.lm_head.parameters()),
        "transformer_matrices": sum(p.numel() for p in model.transformer.h.parameters()),
        "total": plan["num_params"],
    }
    return {
        "depth": depth, "target_param_data_ratio": plan["target_param_data_ratio"], "vocab_size": config.vocab_size,
        "sequence_len": config.sequence_len, "n_embd": config.n_embd, "n_head": config.n_head,
        "n_kv_head": config.n_kv_head, "num_params": counts, "total_batch_size": plan["total_batch_size"],
        "num_iterations": plan["num_iterations"], "total_tokens": plan["total_tokens"],
        "flops_per_token": plan["num_flops_per_token"],
    }


def schedules(checkout: Path) -> dict[str, object]:
    """The content of schedules.json, without its header."""
    return {
        "horizons": [at_horizon(checkout, steps) for steps in HORIZONS],
        "2026-07": [current_depth(checkout, depth, ratio) for ratio in (12, 8) for depth in CURRENT_DEPTHS],
        "2025-10": [classic_depth(checkout, depth) for depth in CLASSIC_DEPTHS],
    }
