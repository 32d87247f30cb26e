"""Makes every parity fixture: `python generate.py CHECKOUT OUT`. Started by `cargo xtask parity`."""

import sys
from pathlib import Path

import torch

import fixture
import initial
import models
import optimizers
import reference
import schedules
import trajectories


def main() -> None:
    checkout, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    fixture.write_tensors(out / "optimizer.safetensors", *optimizers.optimizer_fixture(checkout))
    for tag, make in (("2026_07", models.current), ("2025_10", models.classic)):
        oracle = make(checkout)
        fixture.write_tensors(out / f"parity_{tag}.safetensors", *models.parity(oracle))
        fixture.write_tensors(out / f"trajectory_{tag}.safetensors", *trajectories.trajectory(checkout, oracle))
    current = fixture.about(reference.NAME, reference.CURRENT)
    classic = fixture.about(reference.NAME, reference.CLASSIC)
    both = current | {"reference_commit_2025_10": reference.CLASSIC}
    fixture.write_json(out / "schedules.json", {"about": both} | schedules.schedules(checkout))
    fixture.write_json(out / "init_2026_07.json", {"about": current} | initial.initial_current(checkout))
    fixture.write_json(out / "init_2025_10.json", {"about": classic} | initial.initial_classic(checkout))


if __name__ == "__main__":
    main()
