"""The control masks: what they keep, and that nothing but (seed, step) decides a draw."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import ARCHITECTURES, ROSES, arguments, dataset, make_model, same, trace_of, train
from rosetune import RandomMask, SelectiveAdamW, StaticMask, UniformMask
from rosetune.mask_trace import MaskTrace
from rosetune.methods.controls import LayerNormOnly
from rosetune.methods.replay import ReplayedMask

SIZES = [4, 8, 16, 4, 64, 4, 8, 32, 4, 16]


def optimizer_for(mask, sizes=SIZES):
    layers = [(f"layer.{i}.weight", nn.Parameter(torch.zeros(size))) for i, size in enumerate(sizes)]
    return SelectiveAdamW([*layers, ("head.weight", nn.Parameter(torch.zeros(3)))], update_mask=mask)


def kept(mask, optimizer):
    multipliers = mask(optimizer)
    names = dict(zip(optimizer.param_groups[0]["params"], optimizer.param_groups[0]["param_names"], strict=True))
    assert set(multipliers.values()) <= {0.0, 1.0}
    assert len(multipliers) == len(names) - 1  # never the head
    return {names[p] for p, m in multipliers.items() if m}


def test_a_random_mask_depends_on_seed_and_step_alone():
    masks = [RandomMask(0.5, seed=7) for _ in range(2)]
    draws = []
    for mask in masks:
        torch.manual_seed(len(draws))
        optimizer = optimizer_for(mask)
        draws.append([kept(mask, optimizer) for _ in range(20)])
    assert draws[0] == draws[1]
    assert all(len(draw) == 5 for draw in draws[0])
    assert len({frozenset(draw) for draw in draws[0]}) > 10
    other = RandomMask(0.5, seed=8)
    assert [kept(other, optimizer_for(other)) for _ in range(20)] != draws[0]
    resumed = RandomMask(0.5, seed=7)
    resumed.load_state_dict({**resumed.state_dict(), "step": 12})
    optimizer = optimizer_for(resumed)
    assert [kept(resumed, optimizer) for _ in range(8)] == draws[0][12:]


def test_drawing_leaves_the_global_random_state_alone():
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    mask = RandomMask(0.5)
    mask(optimizer_for(mask))
    assert torch.equal(torch.get_rng_state(), state[0])
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_matching_in_scalars_is_right_in_the_mean(share):
    mask = RandomMask(share, match="scalars")
    sizes = [10, 20, 40] * 20
    optimizer = optimizer_for(mask, sizes)
    drawn = [sum(p.numel() for p, m in mask(optimizer).items() if m) for _ in range(200)]
    assert np.mean(drawn) / sum(sizes) == pytest.approx(share, abs=0.01)
    assert np.max(np.abs(np.array(drawn) - share * sum(sizes))) <= 20


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.05, 0), (0.7, 7), (1.0, 10)])
def test_a_static_draw_stays(share, count):
    mask = StaticMask(upper=share, seed=3)
    optimizer = optimizer_for(mask)
    first = kept(mask, optimizer)
    assert len(first) == count
    assert all(kept(mask, optimizer) == first for _ in range(5))


def test_static_by_pattern():
    mask = StaticMask(frozen=r"layer\.[0-4]\.")
    assert kept(mask, optimizer_for(mask)) == {f"layer.{i}.weight" for i in range(5, 10)}
    mask = StaticMask(frozen=".")
    assert kept(mask, optimizer_for(mask)) == set()
    mask = StaticMask(frozen="nothing")
    with pytest.raises(ValueError, match="matches none"):
        mask(optimizer_for(mask))


def test_static_from_a_trace(tmp_path):
    names = tuple(f"layer.{i}.weight" for i in range(10))
    often = np.array([9, 1, 8, 2, 7, 3, 6, 4, 5, 0])
    multipliers = (np.arange(10)[:, None] < often[None]).astype(np.float32)
    MaskTrace(names, np.array(SIZES), multipliers).save(tmp_path / "mask_trace.npz")
    mask = StaticMask(trace=tmp_path / "mask_trace.npz", upper=0.3)
    assert kept(mask, optimizer_for(mask)) == {"layer.0.weight", "layer.2.weight", "layer.4.weight"}
    mask = StaticMask(trace=tmp_path)  # the run's folder; as many as the trace kept in the mean: 4.5 of 10
    assert kept(mask, optimizer_for(mask)) == {f"layer.{i}.weight" for i in (0, 2, 4, 6)}
    mask = StaticMask(trace=tmp_path / "mask_trace.npz")
    with pytest.raises(ValueError, match="same model"):
        mask(optimizer_for(mask, SIZES[:-1]))
    whole = (tmp_path / "mask_trace.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "other.npy", np.ones(3))
    for name in ("missing.npz", "cut.npz", "empty.npz", "other.npy"):
        with pytest.raises(ValueError, match="not a mask trace"):
            StaticMask(trace=tmp_path / name)


def write_trace(path, multipliers, sizes=SIZES):
    names = tuple(f"layer.{i}.weight" for i in range(len(sizes)))
    MaskTrace(names, np.array(sizes), np.array(multipliers, dtype=np.float32)).save(path / "mask_trace.npz")
    return path / "mask_trace.npz"


def test_a_replay_applies_row_after_row(tmp_path):
    rows = np.random.default_rng(0).choice([0, 0.25, 0.75, 1], (4, 10))
    mask = ReplayedMask(trace=write_trace(tmp_path, rows))
    backwards = [(f"layer.{i}.weight", nn.Parameter(torch.zeros(SIZES[i]))) for i in reversed(range(10))]
    for optimizer in (optimizer_for(mask), SelectiveAdamW(backwards, update_mask=mask)):
        mask = ReplayedMask(trace=tmp_path)  # the run's folder
        group = optimizer.param_groups[0]
        names = dict(zip(group["params"], group["param_names"], strict=True))
        for row in rows:
            assert {names[p]: m for p, m in mask(optimizer).items()} == {
                f"layer.{i}.weight": m for i, m in enumerate(row)
            }
    with pytest.raises(ValueError, match="the trace holds 4 steps, but this run goes on to step 5"):
        mask(optimizer)
    resumed = ReplayedMask(trace=tmp_path)
    resumed.load_state_dict({**mask.state_dict(), "step": 2})
    assert [*resumed(optimizer_for(resumed)).values()] == rows[2].tolist()
    other = ReplayedMask(trace=write_trace(tmp_path, 1 - rows))
    with pytest.raises(ValueError, match="other options"):
        other.load_state_dict(mask.state_dict())


def test_a_replay_needs_the_same_model_and_targets(tmp_path):
    path = write_trace(tmp_path, np.ones((3, 10)))
    wider = [*SIZES[:-1], 99]
    for mask, sizes in ((ReplayedMask(path), SIZES[:-1]), (ReplayedMask(path), wider)):
        with pytest.raises(ValueError, match="same model and target_parameters"):
            mask(optimizer_for(mask, sizes))
    mask = ReplayedMask(path, target_parameters=r"layer\.[0-8]\.")
    with pytest.raises(ValueError, match=r"holds 10 tensors .* not the 9 targets"):
        mask(optimizer_for(mask))


@pytest.mark.parametrize("order", ["first", "ensemble"])
def test_a_replay_of_a_run_on_itself_is_that_run(tmp_path, order):
    """With the loss of both passes, ROSE's own multipliers lead where ROSE went, bit for bit."""
    rose = train(make_model(), arguments(tmp_path, update_mask="rose", update_mask_kwargs=ROSES[order]), dataset())
    assert len(np.unique(trace_of(rose).multipliers)) > 1
    trace_of(rose).save(tmp_path / "mask_trace.npz")
    two = {"objective_kwargs": {"passes": 2}}
    options = {"trace": str(tmp_path)}
    replay = train(
        make_model(), arguments(tmp_path, **two, update_mask="replay", update_mask_kwargs=options), dataset()
    )
    assert same(rose.model, replay.model)
    assert not same(rose.model, train(make_model(), arguments(tmp_path, **two), dataset()).model)


def test_a_trace_round_trip(tmp_path):
    trace = MaskTrace(("a", "b"), np.array([1, 2]), np.array([[1, 0.5], [0, 1]], dtype=np.float32))
    for name in ("one.npz", "two.npz"):
        trace.save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    loaded = MaskTrace.load(tmp_path / "one.npz")
    assert loaded.names == trace.names
    np.testing.assert_array_equal(loaded.multipliers, trace.multipliers)
    np.testing.assert_array_equal(loaded.share_kept(), [0.5, 0.75])


def test_uniform_scales_the_first_step():
    """Without momentum yet, g' = M g gives the same direction as g, and the step is M times AdamW's."""
    moved = {}
    for multiplier in (1.0, 0.3):
        optimizer = optimizer_for(UniformMask(multiplier))
        for p in optimizer.param_groups[0]["params"]:
            p.grad = torch.ones_like(p)
        optimizer.step()
        moved[multiplier] = [p.detach().clone() for p in optimizer.param_groups[0]["params"]]
    *layers, head = zip(moved[1.0], moved[0.3], strict=True)
    assert all(torch.allclose(0.3 * full, part, rtol=1e-5) for full, part in layers)
    assert torch.equal(*head)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layer_norm_only_moves_norms_pooler_and_head(tiny_model, tiny_batch, architecture):
    """Told from the module tree: every normalisation, and whatever is a pooler or lies outside the body."""
    model = tiny_model(architecture)
    norms = {id(p) for m in model.modules() if type(m).__name__.endswith("Norm") for p in m.parameters()}
    body = {id(p) for name, p in model.base_model.named_parameters() if not name.startswith("pooler.")}
    before = {id(p): p.detach().clone() for p in model.parameters()}
    optimizer = SelectiveAdamW(model.named_parameters(), lr=0.1, update_mask=LayerNormOnly())
    model(**tiny_batch()).loss.backward()
    optimizer.step()
    moved = {key for key, p in ((id(p), p) for p in model.parameters()) if not torch.equal(p, before[key])}
    assert norms
    assert moved == (set(before) - body) | norms
    assert 0.0 < optimizer.density["scalars"] < 0.05


def test_layer_norm_only_without_norms_is_an_error(tiny_model):
    mask = LayerNormOnly()
    with pytest.raises(ValueError, match=r"matches none of the trainable tensors, e\.g\. layer\.0\.weight"):
        mask(optimizer_for(mask))
    mask = LayerNormOnly(norm_parameters=r"layer\.3\.")
    assert kept(mask, optimizer_for(mask)) == {"layer.3.weight"}
    model = tiny_model()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("LayerNorm" not in name)
    mask = LayerNormOnly()
    with pytest.raises(ValueError, match="leave them trainable"):
        mask(SelectiveAdamW(model.named_parameters(), update_mask=mask))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomMask(1.5),
        lambda: RandomMask(0.5, match="layers"),
        lambda: UniformMask(-0.1),
        lambda: StaticMask(),
        lambda: StaticMask(frozen=".", upper=0.5),
        lambda: StaticMask(frozen="["),
        lambda: ReplayedMask(None),
        lambda: ReplayedMask("no-such-run"),
        lambda: LayerNormOnly(norm_parameters="["),
    ],
)
def test_bad_options_are_refused(make):
    with pytest.raises(ValueError):
        make()
