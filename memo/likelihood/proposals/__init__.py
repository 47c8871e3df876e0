"""Proposals for importance sampling: Gaussians close to each observation's posterior."""
