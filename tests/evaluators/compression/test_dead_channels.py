"""Dead channels: what is found, and that nothing but rounding changes without them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from evaluators import Task, load_task, trace
from evaluators.compression.dead_channels import find, without_dead_channels
from support.paths import DATA as PACK


class Net(nn.Module):
    """Convolution, batch norm, activation, depthwise, pointwise, a padded one, and a classifier."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.act = activation
        self.point = nn.Conv2d(8, 6, 1)
        self.padded = nn.Conv2d(6, 5, 3, padding=1)
        self.flat = nn.Flatten()
        self.out = nn.Linear(5 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.point(self.act(self.norm(self.first(x))))
        return self.out(self.flat(self.padded(torch.relu(x))))


def make(activation: nn.Module, dead: dict[str, list[int]]) -> Task:
    torch.manual_seed(0)
    model = Net(activation).eval()
    nn.init.uniform_(model.norm.bias, 0.2, 1.0)  # what dead channels say isn't zero
    nn.init.uniform_(model.point.bias, -1.0, -0.2)  # what they say here is cut off by the ReLU
    for name, channels in dead.items():
        model.get_submodule(name).weight.data[channels] = 0
    x = torch.randn(4, 3, 4, 4)
    batches = [(x, torch.zeros(4, dtype=torch.long))]
    return Task(
        model=model, train=batches, val=batches, test=batches, example_input=x,
        loss=nn.functional.cross_entropy, metric=lambda outputs, targets: 0.0,
    )  # fmt: skip


class Words(nn.Module):
    """An embedding, a layer over its tokens, and a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.mix = nn.Linear(8, 6)
        self.memory = nn.GRU(6, 5, batch_first=True)
        self.out = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.memory(self.mix(self.words(x)))[0][:, -1])


def test_channels_that_recurrent_layers_read_stay() -> None:
    model = Words().eval()
    model.mix.weight.data[2] = 0
    x = torch.randint(0, 20, (4, 7))
    batches = [(x, torch.zeros(4, dtype=torch.long))]
    task = Task(
        model=model, train=batches, val=batches, test=batches, example_input=x,
        loss=nn.functional.cross_entropy, metric=lambda outputs, targets: 0.0,
    )  # fmt: skip
    assert find(task).count == 0


def outputs(task: Task, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        answered: torch.Tensor = task.model.eval()(x)
    return answered


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Hardswish(), nn.Sigmoid()])
def test_what_dead_channels_say_goes_into_the_biases(activation: nn.Module) -> None:
    task = make(activation, {"first": [1, 4, 7], "point": [0, 5], "padded": [2]})
    found = find(task)
    assert found.channels == {"first": (1, 4, 7), "point": (0, 5), "padded": (2,)}
    thin = without_dead_channels(task)
    assert trace(thin).layer("first").out_channels == 5
    assert trace(thin).layer("out").in_channels == 4 * 16
    assert sum(layer.macs for layer in trace(thin).layers) == found.macs_left < found.macs
    x = torch.randn(16, 3, 4, 4)
    assert torch.allclose(outputs(thin, x), outputs(task, x), atol=1e-5)
    assert task.model.get_submodule("first").weight.shape[0] == 8


def test_channels_that_a_padded_convolution_hears_stay() -> None:
    task = make(nn.ReLU(), {"point": [0, 5]})
    nn.init.uniform_(task.model.get_submodule("point").bias, 0.2, 1.0)
    # They say something else at the borders, where the padding is zero.
    assert find(task).channels == {}
    assert without_dead_channels(task) is task


@pytest.mark.parametrize("norm", [nn.LayerNorm(8), nn.GroupNorm(1, 8), nn.RMSNorm(8)])
def test_channels_that_a_norm_counts_stay(norm: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), norm, nn.Linear(8, 3)).eval()
    model[0].weight.data[[1, 4]] = 0
    model[0].bias.data[[1, 4]] = 0
    task = replace(make(nn.ReLU(), {}), model=model, example_input=torch.randn(4, 3))
    # Without them, the mean and the deviation of the others would be other ones.
    assert trace(task).group("0").prunable
    assert find(task).channels == {}


def test_one_channel_stays_and_nothing_is_found_in_a_live_model() -> None:
    assert find(make(nn.ReLU(), {})).count == 0
    assert len(find(make(nn.ReLU(), {"first": list(range(8))})).channels["first"]) == 7


def test_the_task_option_is_checked() -> None:
    with pytest.raises(ValueError, match="remove_dead='yes' must be 0 or 1"):
        load_task("evaluators.tasks.digits:build?remove_dead=yes")


def test_the_wake_word_reference_loses_half_its_macs() -> None:
    from nni_plugin.cli.app import app

    if not (PACK / "mlperf_ref" / "mobilenetv1_vww.pt").is_file():
        pytest.skip(f"the reference weights are not here: {PACK}/mlperf_ref/mobilenetv1_vww.pt")
    name = "evaluators.tasks.vww:build"
    task, thin = (load_task(name + query, str(PACK)) for query in ("", "?remove_dead=1"))
    sums = [sum(layer.macs for layer in trace(t).layers) for t in (task, thin)]
    assert sums == [7_489_664, 3_742_091]
    x = next(iter(task.val))[0][:64]
    before, after = outputs(task, x), outputs(thin, x)
    assert torch.allclose(after, before, atol=1e-4 * float(before.abs().max()))
    assert bool((after.argmax(1) == before.argmax(1)).all())
    shown = CliRunner().invoke(
        app, ["profile", "--task", name, "--data", str(PACK), "--device", "stm32l4r5"]
    )
    assert shown.exit_code == 0, shown.output
    assert "971 channels have all-zero weights" in shown.output
    assert "block13.pw: 234 of 256" in shown.output
