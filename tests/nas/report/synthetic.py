"""A run folder without a run: real architectures of a real space, with values from closed forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

from hardware.device import Device
from nas.archive import Archive, Trial
from nas.config import experiment
from nas.problem import Problem
from nas.yaml_source import load
from searchspaces.architecture import Architecture
from searchspaces.cost import architecture_cost
from searchspaces.networks._role import Signature
from searchspaces.space import SearchSpace

CONFIG = """
task: {kind: classification, data: {kind: digits}}
space:
  kind: metaformer
  stem: {patch: {choice: [1, 2]}, width: 16}
  stages:
    - depth: {choice: [1, 2]}
      width: {choice: [16, 24]}
      block: &block
        mixer:
          choice:
            - {kind: depthwise, kernel: {choice: [3, 5, [3, 7]]}, dilation: {choice: [1, 2]}}
            - {kind: attention, heads: {choice: [1, 2, 4]}, head_width: 8}
            - {kind: pooling}
            - {kind: multi_dilated, kernel: 3, dilations: [1, 2, 3]}
        channel_mixer: {kind: mlp, ratio: {choice: [1.5, 2.0, 3.0]}}
        gate: {choice: [{kind: none}, {kind: squeeze_excitation}]}
        quantization: {choice: [{kind: none}, {kind: integer}]}
    - depth: {choice: [0, 1, 2]}
      width: {choice: [32, 48, 64]}
      block:
        mixer:
          choice:
            - {kind: depthwise, kernel: {choice: [3, 5]}}
            - {kind: attention, heads: {choice: [2, 4]}}
            - {kind: identity}
        channel_mixer: {kind: mlp, ratio: {choice: [2.0, 4.0]}}
        quantization: {choice: [{kind: none}, {kind: integer, weight_bits: 4}]}
hardware: {kind: roofline}
objectives: {error: minimize, latency_ms: minimize}
constraints: {latency_ms: 0.6}
training: {kind: sandwich, epochs: 12}
strategy: {kind: nsga2, evaluations: 120}
seed: 3
"""


def synthetic_run(
    folder: Path, trials: int = 60, models: int = 8, objectives: dict[str, str] | None = None, seed: int = 0
) -> Path:
    """Writes all that the report reads; returns the folder."""
    found = experiment(load(CONFIG, "config.yaml"))
    data = found.resolved() | ({"objectives": objectives} if objectives else {})
    versions = {"python": "3.11.9", "torch": "2.13.0", "onnxruntime": "1.31.1"}
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "resolved.yaml").write_text(yaml.safe_dump({**data, "versions": versions}, sort_keys=False, width=120))
    space = SearchSpace.of(found.space, Signature((1, 8, 8), 10))
    rng = np.random.default_rng(seed)
    problem = Problem(space, data["objectives"], data["constraints"])
    with Archive.open(folder / "archive.sqlite", json.dumps(data, sort_keys=True)) as archive:
        for row in np.unique(space.sample(rng, trials), axis=0)[rng.permutation(trials)]:
            architecture = space.decode(row)
            genes = tuple(map(int, row))
            values = believed(architecture, rng)
            archive.add(Trial(len(archive), architecture.id, genes, architecture.describe(), values))
        front = archive.front(problem)
    picks = np.unique(np.linspace(0, len(front) - 1, models).round().astype(int)) if front else []
    write_front(folder, [entry(front[pick], rng) for pick in picks])
    history = [2.3 * 0.8**epoch + 0.4 for epoch in range(12)]
    tensors = {"weight.x": np.zeros(1, dtype=np.float32)}
    save_file(tensors, folder / "checkpoints/supernet.safetensors", {"history": json.dumps(history)})
    return folder


def believed(architecture: Architecture, rng: np.random.Generator) -> dict[str, float]:
    """Values as a search would believe them."""
    cost = architecture_cost(architecture)
    bits = [block.part.quantization.stored_bits for block in architecture.blocks()]
    latency = 0.02 + cost.macs / 6e6 * (0.5 + np.mean(bits) / 64) + 0.002 * cost.kernels
    return {
        "error": float(min(0.9, 0.012 + 250 / cost.macs**0.75 + 0.03 * rng.random() ** 3)),
        "latency_ms": float(latency),
        "macs": float(cost.macs),
        "parameters": float(cost.parameters),
        "model_bytes": cost.parameters * float(np.mean(bits)) / 8,
        "peak_memory_bytes": float(cost.peak_activation_bytes + 4 * cost.parameters),
    }


def entry(trial: Trial, rng: np.random.Generator) -> dict[str, Any]:
    """What an export would have measured."""
    latency = trial.values["latency_ms"] * float(rng.normal(1.04, 0.05))
    accuracy = 1 - trial.values["error"] * float(rng.uniform(0.9, 1.2))
    integer = any(block.part.quantization.integer for block in Architecture.parse(trial.architecture).blocks())
    size = int(trial.values["parameters"] * 4 + 9000)
    files = ["model.onnx", "model.pt2", "model.safetensors"] + ["model.int8.onnx"] * integer
    speedup = float(rng.uniform(0.9, 1.6))
    return {
        "id": trial.architecture_id,
        "architecture": trial.architecture,
        "values": trial.values,
        "test_images": 360,
        "accuracy_float32": accuracy + 0.001 * integer,
        "accuracy_deployed": accuracy,
        "deployed": "model.int8.onnx" if integer else "model.onnx",
        "latency_ms": latency,
        "latency_ms_p10": latency * 0.97,
        "latency_ms_p90": latency * float(rng.uniform(1.02, 1.1)),
        "noise": 0.018,
        "samples": 60,
        "latency_state": "ok",
        "latency_reason": "",
        "integer_gain": {"float32_ms": latency * speedup, "int8_ms": latency, "speedup": speedup} if integer else None,
        "bytes": {file: size // 3 if "int8" in file else size for file in files},
        "left_out": {},
        "device": Device.here().describe(),
    }


def write_front(folder: Path, entries: list[dict[str, Any]]) -> None:
    """`front.json` with these entries."""
    (folder / "front.json").write_text(json.dumps(entries))
