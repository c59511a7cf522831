"""Spann3R and Driv3R, one network, against their official code."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from goldens import assert_matches, load_official, read_arrays, read_manifest
from torch import Tensor

from driv3r.errors import ConfigError
from driv3r.models.checkpoints import check_fit
from driv3r.models.key_maps.spann3r import SPANN3R
from driv3r.models.layers.dpt import DptConfig
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.layers.rope import grid_positions
from driv3r.models.published.pair_networks import PairConfig, PairNet
from driv3r.models.published.spann3r import (
    MemoryNet,
    MemoryNetConfig,
    choose_pair,
    pair_confidence,
    run_set,
)
from driv3r.models.published.spatial_memory import MemoryConfig, SpatialMemory, TokenMemory

DPT = DptConfig(hooks=(0, 2, 3, 4), widths=(8, 12, 16, 24), features=16, hidden=8)
PAIR = PairConfig(
    width=32,
    depth=2,
    heads=2,
    cross_width=24,
    cross_depth=4,
    cross_heads=2,
    dpt=DPT,
    transpose_portrait=True,
)
FRAME_TOKENS = 12
SYSTEMS = {
    "spann3r": MemoryNetConfig(PAIR, value_depth=2, value_heads=4),
    "driv3r": MemoryNetConfig(PAIR, 2, 4, MemoryConfig(frame_tokens=FRAME_TOKENS)),
}
FULL = {
    "spann3r": MemoryNetConfig(),
    "driv3r": MemoryNetConfig(memory=MemoryConfig(frame_tokens=196)),
}
PARTS = ("keys", "values", "age", "attention")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def load(system: str, golden, **memory) -> MemoryNet:
    config = SYSTEMS[system]
    config = replace(config, memory=replace(config.memory, **memory))
    return load_official(MemoryNet(config), SPANN3R, golden(f"{system}/tiny.safetensors"))


@dataclass
class Record:
    """A run's inner values, named as the golden's."""

    case: str
    values: dict[str, Tensor] = field(default_factory=dict)

    def write(self, name: str, **values: Tensor | int) -> None:
        for key, value in values.items():
            self.values[f"{self.case}.{name}.{key}"] = torch.as_tensor(value)


def describe(memory: TokenMemory) -> dict[str, Tensor | int]:
    return {
        "mem_k": memory.keys,
        "mem_v": memory.values,
        "mem_count": memory.age[..., None],
        "mem_attn": memory.attention[..., None],
        "lm": memory.long_tokens,
        "wm": memory.frames,
    }


def record_run(network: MemoryNet, images: Tensor, case: str) -> dict[str, Tensor]:
    """Everything of a run that the golden has too."""
    record, pair = Record(case), 0
    read, add, relate = network.memory.read, network.memory.add, network.pair.relate

    def watch_read(memory, query):
        out, after = read(memory, query)
        record.write(f"read{pair}", query=query, out=out, mem_attn_after=after.attention[..., None])
        return out, after

    def watch_add(memory, keys, values):
        written = add(memory, keys, values)
        name = f"mem_after_pair{pair}"
        record.write(name, feat_k=keys, feat_v=values, added=int(written.stored))
        record.write(name, **describe(written.memory))
        if written.similarity is not None:
            record.write(name, sim=written.similarity)
        return written

    def watch_relate(*args):
        tokens = relate(*args)
        first, second = (layers[-1] for layers in tokens.layers)
        record.write(f"pair{pair}", dec1_last=first, dec2_last=second)
        return tokens

    network.memory.read, network.memory.add = watch_read, watch_add
    network.pair.relate = watch_relate
    for step in network.stream(images):
        for name, answer in (("res1", step.last), ("res2", step.now)):
            record.write(f"pair{pair}.{name}", pts3d=answer.points, conf=answer.confidence)
        pair += 1
    return record.values


CASES = ("cam0", "cam1", "cam2", "simrej", "batch2", "portrait")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_answer_read_and_memory_is_the_official_one(system, case, golden):
    official = read_arrays(golden(f"{system}/io.npz"))
    limit = float(official["simrej.threshold"])
    rejects = case in ("simrej", "batch2")
    network = load(system, golden, **({"max_similarity": limit} if rejects else {}))
    images = {
        **{f"cam{i}": official["imgs"][[i]] for i in range(3)},
        "simrej": official["imgs"][[0]],
        "batch2": official["imgs"][:2],
        "portrait": official["portrait.imgs"][None],
    }[case]
    ours = record_run(network, images, case)
    # Names of dictionary keys, an input, and what the next test is about.
    skipped = ("has_other_view_key", "threshold", "imgs", "enc_feat", "pos")
    compared = 0
    for name, expected in official.items():
        if name.split(".")[0] == case and name.split(".")[-1] not in skipped:
            assert_matches(ours[name].double(), expected.double())
            compared += 1
    assert compared >= 8


@pytest.mark.parametrize("system", SYSTEMS)
def test_tokens_of_a_frame_and_their_places_are_the_official_ones(system, golden):
    official = read_arrays(golden(f"{system}/io.npz"))
    network = load(system, golden)
    state = network.start(official["imgs"][0, :1])
    assert_matches(state.encoded, official["cam0.frame0.enc_feat"])
    assert torch.equal(grid_positions((3, 4), 1), official["cam0.frame0.pos"])
    assert {name.split(".")[0] for name in official} == {*CASES, "imgs"}


def test_a_sequence_gives_each_frames_final_answer(golden):
    official = read_arrays(golden("spann3r/io.npz"))
    answer = load("spann3r", golden)(official["imgs"][:1])
    final = [f"cam0.pair{i}.res1" for i in range(4)] + ["cam0.pair3.res2"]
    for frame, name in enumerate(final):
        assert_matches(answer.points[:, frame], official[f"{name}.pts3d"])
        assert_matches(answer.confidence[:, frame], official[f"{name}.conf"])


def test_the_head_of_a_portrait_image_is_only_turned(golden):
    torch.manual_seed(0)
    network = load("spann3r", golden).pair
    upright = PairNet(replace(PAIR, transpose_portrait=False)).eval()
    upright.load_state_dict(network.state_dict())
    images = torch.rand(2, 1, 3, 64, 48) * 2 - 1
    for ours, plain in zip(network(*images), upright(*images), strict=True):
        assert torch.equal(ours.points, plain.points.transpose(1, 2))
        assert torch.equal(ours.confidence, plain.confidence.transpose(1, 2))


# The memory alone: every step starts from the official state before it.


def make_memory(official: dict[str, Tensor], case: str) -> SpatialMemory:
    long_tokens, work_frames, min_attention, max_similarity = official[f"{case}.params"].tolist()
    config = MemoryConfig(
        int(long_tokens), int(work_frames), min_attention, max_similarity, FRAME_TOKENS
    )
    memory = SpatialMemory(8, config)
    for ours, name in (("query", "q"), ("key", "k"), ("value", "v")):
        for part in ("weight", "bias"):
            getattr(memory, f"norm_{ours}").get_parameter(part).copy_(
                official[f"{case}.norm_{name}.{part}"]
            )
    return memory


def read_state(official: dict[str, Tensor], name: str) -> TokenMemory:
    keys, values, age, attention = (
        official[f"{name}.after.mem_{part}"] for part in ("k", "v", "count", "attn")
    )
    frames = int(official[f"{name}.after.lm_wm_size"][1])
    return TokenMemory(keys, values, attention[..., 0], age[..., 0], frames, FRAME_TOKENS)


def sort_tokens(memory: TokenMemory) -> TokenMemory:
    """One sample's tokens by a channel of their keys, which no two share."""
    order = memory.keys[0, :, 0].argsort()
    return replace(memory, **{part: getattr(memory, part)[:, order] for part in PARTS})


@pytest.mark.parametrize("case", ["prune", "nolong", "thresh"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_memory_alone_is_the_official_one(system, case, golden):
    official = read_arrays(golden(f"{system}/memory_unit.npz"))
    memory, state = make_memory(official, case), None
    steps = sum(name.startswith(f"{case}.step") and name.endswith(".k") for name in official)
    assert steps >= 6
    for step in range(steps):
        name = f"{case}.step{step}"
        if state is not None:
            out, state = memory.read(state, official[f"{name}.query"])
            assert_matches(out, official[f"{name}.read"])
        ours = memory.add(state, official[f"{name}.k"], official[f"{name}.v"]).memory
        state = read_state(official, name)
        sizes = [ours.long_tokens, ours.frames, ours.keys.shape[1]]
        assert sizes == official[f"{name}.after.lm_wm_size"].tolist()
        for part in PARTS:
            assert_matches(getattr(sort_tokens(ours), part), getattr(sort_tokens(state), part))


@pytest.mark.parametrize("case", ["nolong", "thresh"])
def test_reads_stay_official_over_a_whole_run(case, golden):
    official = read_arrays(golden("spann3r/memory_unit.npz"))
    memory, state, step = make_memory(official, case), None, 0
    while f"{case}.step{step}.k" in official:
        name = f"{case}.step{step}"
        if state is not None:
            out, state = memory.read(state, official[f"{name}.query"])
            assert_matches(out, official[f"{name}.read"])
        state = memory.add(state, official[f"{name}.k"], official[f"{name}.v"]).memory
        step += 1


def fill(memory: SpatialMemory, frames: int, tokens: int, width: int = 8):
    """States of a run of random frames, each read before the next is stored, and their keys."""
    torch.manual_seed(0)
    state = None
    for _ in range(frames):
        if state is not None:
            _, state = memory.read(state, torch.randn(2, tokens, width))
        keys = torch.randn(2, tokens, width)
        state = memory.add(state, keys, torch.randn(2, tokens, width)).memory
        yield state, keys


@pytest.mark.parametrize(("long_tokens", "most"), [(80, 80 + 3 * 6), (0, 2 * 6)])
def test_the_memory_is_bounded_and_keeps_its_newest_frames_in_order(long_tokens, most):
    memory = SpatialMemory(8, MemoryConfig(long_tokens, work_frames=2))
    sizes, newest = [], []
    for state, keys in fill(memory, 60, 6):
        newest = [*newest, keys][-2:]
        sizes.append(state.keys.shape[1])
        assert torch.equal(state.keys[:, state.long_tokens :], torch.cat(newest, 1))
        assert (state.age.diff(dim=1) <= 0).all()
        assert torch.isfinite(state.attention).all()
    assert max(sizes) <= most
    assert sizes[-1] < 60 * 6


def test_pruning_keeps_what_was_heard_most():
    memory = SpatialMemory(4, MemoryConfig(40, work_frames=1))
    states = [state for state, _ in fill(memory, 11, 4, 4)]
    state = replace(states[-1], attention=torch.rand(2, states[-1].keys.shape[1]))
    assert state.keys.shape[1] == 44  # the next frame makes it 48: 44 long-term, more than 40
    keys = torch.randn(2, 4, 4)
    after = memory.add(state, keys, keys).memory
    rate = state.attention / (state.age + 1)
    old = state.age + 1 >= 6
    for sample in range(2):
        survived = (state.keys[sample][:, None] == after.keys[sample][None]).all(-1).any(-1)
        assert survived[~old[sample]].all()
        lost = ~survived
        assert lost.sum() == 8
        assert rate[sample][lost].max() <= rate[sample][survived & old[sample]].min()


def test_a_query_that_hears_only_faint_tokens_hears_them_all():
    deaf = SpatialMemory(8, MemoryConfig(min_attention=0.5))
    plain = SpatialMemory(8, MemoryConfig(min_attention=0.0))
    *_, (state, _) = fill(plain, 4, 6)
    query = torch.randn(2, 6, 8) / 10
    out, read = deaf.read(state, query)
    expected, _ = plain.read(state, query)
    assert torch.isfinite(out).all()
    faint = (out - expected).abs().amax(-1) < 1e-6
    assert faint.any()
    torch.testing.assert_close((read.attention - state.attention).sum(1), torch.full((2,), 6.0))


def test_one_known_sample_keeps_the_whole_batch_out():
    memory = SpatialMemory(8, MemoryConfig())
    *_, (state, keys) = fill(memory, 3, 6)
    fresh = torch.randn(2, 6, 8)
    assert memory.add(state, fresh, fresh).stored
    fresh[1] = keys[1]
    written = memory.add(state, fresh, fresh)
    assert not written.stored
    assert written.memory is state
    assert written.similarity[:, -1].tolist() == pytest.approx([0, 1], abs=0.5)
    always = SpatialMemory(8, MemoryConfig(max_similarity=1.0))
    assert always.add(state, fresh, fresh).stored


def test_states_are_not_written_to(golden):
    network = load("spann3r", golden)
    images = torch.rand(4, 1, 3, 48, 64) * 2 - 1
    state = network.start(images[0])
    for image in images[1:3]:
        _, state = network.step(image, state)
    first, _ = network.step(images[3], state)
    again, _ = network.step(images[3], state)
    assert torch.equal(first.now.points, again.now.points)


# Spann3R's offline mode.


def test_images_without_an_order_get_the_official_one(golden):
    official = read_arrays(golden("spann3r/offline.npz"))
    images = read_arrays(golden("spann3r/io.npz"))["imgs"][0]
    order = official["idx_used"].tolist()
    # The golden's pair confidences are random numbers that were given to the official code.
    points = torch.zeros(1, 1, 1, 3).expand(1, 6, 8, 3)
    confidences = {
        tuple(pair.tolist()): pair_confidence(*(PointAnswer(points, c[None]) for c in confidences))
        for pair, *confidences in zip(
            official["pairs"], official["conf1"], official["conf2"], strict=True
        )
    }
    start = max(confidences, key=lambda pair: confidences[pair])
    assert list(start) == order[:2]
    ours = run_set(load("spann3r", golden), images, start)
    assert list(ours.order) == order
    for place, image in enumerate(order):
        assert_matches(ours.answer.points[[image]], official[f"pred{place}.pts3d"])
        assert_matches(ours.answer.confidence[[image]], official[f"pred{place}.conf"])


def test_the_first_pair_is_that_of_which_the_pair_network_is_surest(golden):
    network = load("spann3r", golden)
    images = read_arrays(golden("spann3r/io.npz"))["imgs"][0][:3]
    ours = run_set(network, images)
    rates = {
        (i, j): pair_confidence(*network.pair(images[[i]], images[[j]]))
        for i in range(3)
        for j in range(3)
        if i != j
    }
    assert ours.order[:2] == max(rates, key=lambda pair: rates[pair])
    encoded = [network.pair.encoder(image[None]) for image in images]
    assert choose_pair(network, encoded, images[:1]) == ours.order[:2]


def test_what_can_not_be_asked_is_refused(golden):
    network, images = load("driv3r", golden), torch.rand(3, 3, 48, 64)
    with pytest.raises(ConfigError, match="two or more"):
        network(images[None, :1])
    with pytest.raises(ConfigError, match="two or more"):
        run_set(network, images[:1])
    with pytest.raises(ConfigError, match="different"):
        run_set(network, images, (0, 3))
    with pytest.raises(ConfigError, match="one size"):
        network.step(torch.rand(1, 3, 64, 48), network.start(images[:1]))
    with pytest.raises(ConfigError, match="16 tokens in a memory of frames of 12"):
        network(torch.rand(1, 2, 3, 64, 64))
    with pytest.raises(ConfigError, match="fewer than 5 frames"):
        SpatialMemory(8, MemoryConfig(50)).add(None, *torch.rand(2, 1, 11, 8))
    for wrong in ({"work_frames": 0}, {"long_tokens": -1}, {"max_similarity": 1.5}):
        with pytest.raises(ConfigError):
            MemoryConfig(**wrong)


@pytest.mark.parametrize("system", FULL)
def test_the_full_size_checkpoint_fits(system, golden):
    official = read_manifest(golden(f"{system}/manifest.json"))
    with torch.device("meta"):
        network = MemoryNet(FULL[system])
    check_fit(network.state_dict(), SPANN3R.apply(official), system)
