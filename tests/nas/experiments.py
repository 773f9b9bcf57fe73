"""Tiny experiments that the tests share."""

from __future__ import annotations

from pathlib import Path

TINY = """
task: {kind: classification, data: {kind: digits, calibration: 64}}
space:
  kind: metaformer
  stem: {patch: {choice: [2, 4]}, width: 4}
  stages:
    - depth: {choice: [1, 2]}
      block:
        mixer: {choice: [{kind: depthwise, kernel: {choice: [3, 5]}}, {kind: pooling}]}
        channel_mixer: {kind: mlp, ratio: {choice: [1.0, 2.0]}}
hardware: {kind: roofline}
profile: {networks: 12, verified: 2, every: 5}
training: {kind: sandwich, epochs: 2, batch_size: 256, random: 1}
strategy: {kind: nsga2, evaluations: 12, population: 6}
finalize: {models: 2}
executor: {kind: local, workers: 1}
"""
MODELS = TINY.replace("models: 2", "models: 2, epochs: 1")
"""The same with finalists that are fine-tuned."""


def written(folder: Path, text: str = TINY) -> Path:
    """The text as a configuration file."""
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path
