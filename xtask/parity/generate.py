"""Makes every parity fixture: `python generate.py CHECKOUT OUT`. Started by `cargo xtask parity`."""

import sys
from pathlib import Path

import torch

import fixture
import models
import optimizers


def main() -> None:
    checkout, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    current = models.current(checkout)
    fixture.write_tensors(out / "parity_2026_07.safetensors", *models.parity(current))
    fixture.write_tensors(out / "optimizer.safetensors", *optimizers.optimizer_fixture(checkout))
    classic = models.classic(checkout)
    fixture.write_tensors(out / "parity_2025_10.safetensors", *models.parity(classic))


main()
