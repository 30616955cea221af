"""From the start of a process to the first forward pass, for bench/startup.mjs: python3 startup.py WEIGHTS."""

import sys

import torch

import reference

model = reference.Localizer().load(sys.argv[1]).eval()
generator = torch.Generator().manual_seed(7)
with torch.no_grad():
    model(torch.randn(1, 3, 224, 224, generator=generator), torch.randn(1, 1, 257, 501, generator=generator))
