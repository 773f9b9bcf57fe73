"""A supernet from trained weights: its largest network computes what the trained one does, in the order of importance.

The libraries are not asked: modules with their names and structure stand for them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from searchspaces.architecture import Architecture
from searchspaces.extremes import extremes
from searchspaces.importance import angular_distance, contributions, layer_order, sort_channels, standalone
from searchspaces.networks._role import Network, Signature
from searchspaces.parse import parse
from searchspaces.placements import Placements
from searchspaces.pretrained import PretrainedError, described, translated
from searchspaces.space import SearchSpace
from searchspaces.supernet import Supernet
from tests.searchspaces import vision_transformers as vit
from tests.searchspaces.spaces import choice, space

MODULES: dict[str, tuple[Callable[[], nn.Module], float, str]] = {
    "torch": (vit.Torch, 1e-5, "relu"),
    "torchvision": (vit.Torchvision, 1e-6, "gelu"),
    "timm": (vit.Timm, 1e-6, "gelu"),
    "transformers": (vit.Transformers, 1e-12, "gelu"),
}
SIGNATURE = Signature(vit.SHAPE, vit.CLASSES)
EVERY = pytest.mark.parametrize("library", MODULES)


def trained(library: str) -> nn.Module:
    """A module all of whose parameters matter."""
    torch.manual_seed(0)
    module = MODULES[library][0]()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module.eval()


def opened(library: str, **changes: Any) -> Placements:
    """The space whose largest architecture is the module's."""
    _, epsilon, activation = MODULES[library]
    block = {"heads": choice(0, 1, vit.HEADS), "head_width": vit.WIDTH // vit.HEADS, "activation": activation}
    description = {
        "kind": "transformer",
        "patch": vit.PATCH,
        "width": vit.WIDTH,
        "depth": choice(1, vit.DEPTH),
        "class_token": library != "torch",
        "epsilon": epsilon,
        "block": {**block, "hidden": choice(0, 8, vit.HIDDEN)},
        **changes,
    }
    return Placements(space(description, SIGNATURE))


def largest(placements: Placements) -> Architecture:
    return placements.space.decode(extremes(placements)[1])


def images(count: int = 7, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, *vit.SHAPE, generator=torch.Generator().manual_seed(1), dtype=dtype)


@torch.no_grad()
def outputs(supernet: Supernet, architecture: Architecture, dtype: torch.dtype = torch.float32) -> Tensor:
    return supernet.subnet(architecture).eval()(images(dtype=dtype))


@EVERY
@torch.no_grad()
def test_the_largest_network_computes_what_the_module_computes(library: str) -> None:
    module, placements = trained(library), opened(library)
    whole = largest(placements)
    supernet = Supernet.from_pretrained(placements, module)
    torch.testing.assert_close(outputs(supernet, whole), module(images()), rtol=0, atol=1e-5)
    exact = Supernet(placements).double()
    exact.adopt(whole, translated(module.double(), whole))
    expected = module(images(dtype=torch.float64))
    torch.testing.assert_close(outputs(exact, whole, torch.float64), expected, rtol=0, atol=1e-12)


@EVERY
def test_the_description_is_read_from_the_weights(library: str) -> None:
    found = described(trained(library))
    sizes = {"width": vit.WIDTH, "depth": vit.DEPTH, "patch": vit.PATCH, "class_token": library != "torch"}
    assert found == {"kind": "transformer", **sizes, "block": {"hidden": vit.HIDDEN}}
    _, epsilon, activation = MODULES[library]
    block = {**found["block"], "heads": vit.HEADS, "head_width": vit.WIDTH // vit.HEADS, "activation": activation}
    network = parse(Network, {**found, "epsilon": epsilon, "block": block})
    closed = Placements(SearchSpace.of(network, SIGNATURE))
    module = trained(library)
    with torch.no_grad():
        expected = module(images())
    torch.testing.assert_close(
        outputs(Supernet.from_pretrained(closed, module), largest(closed)), expected, rtol=0, atol=1e-5
    )


@EVERY
def test_sorting_leaves_the_largest_network_and_orders_what_is_left_out(library: str) -> None:
    placements = opened(library)
    supernet, sorted_ones = (Supernet.from_pretrained(placements, trained(library)) for _ in range(2))
    whole = largest(placements)
    before = outputs(supernet, whole)
    for batches in ([], [images(20)]):
        sort_channels(sorted_ones, whole, batches)
        torch.testing.assert_close(outputs(sorted_ones, whole), before, rtol=0, atol=1e-5)
        for _, _, norms in contributions(sorted_ones, whole, batches):
            assert (norms[:-1] >= norms[1:] * (1 - 1e-5)).all()


def test_a_contribution_is_the_norm_of_what_a_group_adds() -> None:
    placements, batch = opened("timm"), images(9)
    supernet = Supernet.from_pretrained(placements, trained("timm"))
    network, seen = standalone(supernet, largest(placements), []), dict[int, Tensor]()
    found = contributions(supernet, largest(placements), [batch])
    assert [len(norms) for *_, norms in found] == [vit.HEADS, vit.HIDDEN] * vit.DEPTH
    readers = [module for name, module in network.named_modules() if name.endswith(("mixer.output", "mixer.project"))]
    for number, reader in enumerate(readers):
        reader.register_forward_pre_hook(lambda _, x, number=number: seen.update({number: x[0]}))
    with torch.no_grad():
        network(batch)
    for number, ((*_, norms), reader) in enumerate(zip(found, readers, strict=True)):
        channels = seen[number] if isinstance(reader, nn.Linear) else seen[number].movedim(1, -1)
        runs = channels.unflatten(-1, (len(norms), -1))
        weights = reader.get_parameter("weight").detach().flatten(1).unflatten(1, (len(norms), -1))
        expected = [(runs[..., group, :] @ weights[:, group].T).norm() for group in range(len(norms))]
        torch.testing.assert_close(norms, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_sorted_slices_stay_nearer_to_the_whole_than_reversed_ones() -> None:
    placements = opened("timm", depth=vit.DEPTH)
    supernet = Supernet.from_pretrained(placements, trained("timm"))
    whole = largest(placements)
    row = extremes(placements)[1].copy()
    for number, decision in enumerate(placements.space.decisions):
        row[number] = decision.options.index(8 if vit.HIDDEN in decision.options else vit.HEADS)
    narrow = placements.space.decode(row)
    expected = outputs(supernet, whole)
    sort_channels(supernet, whole, [images(40)])
    near = angular_distance(outputs(supernet, narrow), expected).mean()
    with torch.no_grad():
        for name, parameter in supernet.named_parameters():
            if "Perceptron" in name and "project:Conv2d/bias" not in name:
                axis = 1 if "project" in name else 0
                parameter.copy_(parameter.flip(axis))
    torch.testing.assert_close(outputs(supernet, whole), expected, rtol=0, atol=1e-5)
    far = angular_distance(outputs(supernet, narrow), expected).mean()
    assert near < 0.8 * far


def test_a_layer_that_does_nothing_is_the_least_important() -> None:
    module, placements = trained("timm"), opened("timm")
    with torch.no_grad():
        for branch in (module.blocks[1].attn.proj, module.blocks[1].mlp.fc2):  # type: ignore[index, union-attr]
            branch.weight.zero_(), branch.bias.zero_()
    supernet = Supernet.from_pretrained(placements, module)
    layers = [(1 + 2 * number, 2 + 2 * number) for number in range(vit.DEPTH)]
    assert layer_order(supernet, largest(placements), layers, [images()])[-1] == 1


def test_angles_are_shares_of_half_a_turn() -> None:
    one, other = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), torch.tensor([[5.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(angular_distance(one, other), torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))


def test_files_prefixes_and_other_names_are_read(tmp_path: Path) -> None:
    module, placements = trained("timm"), opened("timm")
    expected = Supernet.from_pretrained(placements, module).state_dict()
    wrapped = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    save_file(wrapped, tmp_path / "vit.safetensors")
    other = {name.replace("blocks.", "layers."): tensor for name, tensor in module.state_dict().items()}
    for found in (
        Supernet.from_pretrained(placements, tmp_path / "vit.safetensors"),
        Supernet.from_pretrained(placements, other, {"layers.": "blocks."}),
    ):
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())


def test_a_standalone_network_of_the_space_is_adopted_as_it_is() -> None:
    placements = opened("timm")
    torch.manual_seed(3)
    network = largest(placements).build().eval()
    supernet = Supernet.from_pretrained(placements, network)
    with torch.no_grad():
        torch.testing.assert_close(outputs(supernet, largest(placements)), network(images()), rtol=0, atol=1e-6)


def test_weights_that_do_not_fit_are_refused_with_the_reason(tmp_path: Path) -> None:
    weights = trained("timm").state_dict()
    without = {name: tensor for name, tensor in weights.items() if name != "norm.weight"}
    scaled = {**weights, "blocks.0.ls1.gamma": torch.ones(vit.WIDTH)}
    strange = {"a.weight": torch.ones(2)}
    (tmp_path / "broken.safetensors").write_bytes(b"not a file of weights")
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (without, {}, "the weights lack norm.weight"),
        (scaled, {}, r"no place for blocks\.0\.ls1\.gamma"),
        (weights, {"depth": vit.DEPTH - 1}, r"no place for blocks\.2"),
        (weights, {"depth": vit.DEPTH + 1}, r"the weights lack blocks\.3"),
        (weights, {"width": 16}, "make the largest token_embedding that of the weights"),
        (weights, {"class_token": False}, "no place for cls_token"),
        (strange, {}, r"no known layout \(torch, torchvision, timm, transformers\): a.weight"),
        (tmp_path / "broken.safetensors", {}, "cannot be read as safetensors"),
        (tmp_path / "absent.safetensors", {}, "absent.safetensors: cannot be read"),
    ]
    for found, changes, message in cases:
        with pytest.raises(PretrainedError, match=message):
            Supernet.from_pretrained(opened("timm", **changes), found)


def test_networks_of_other_families_take_no_foreign_weights() -> None:
    other = Placements(space({"kind": "metaformer", "stem": {"width": 4}, "stages": []}, SIGNATURE))
    with pytest.raises(PretrainedError, match="a patch_embedding takes no weights of another network"):
        Supernet.from_pretrained(other, trained("timm"))
