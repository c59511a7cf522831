"""Key maps of SLAM3R's and MV-DUSt3R's official checkpoints."""

from driv3r.models.key_maps.base import (
    CROCO,
    CROSS_BLOCK,
    ENCODER_BLOCK,
    PAIR_CROSS,
    POINT_HEADS,
    VIT_BLOCK,
    KeyMap,
)

BLOCKS = VIT_BLOCK + ENCODER_BLOCK + CROSS_BLOCK

# Both of SLAM3R's networks read un-normed tokens of one encoder, each with its own norm.
SLAM3R = KeyMap(
    (
        (r"^enc_norm\.", "norm."),
        (r"^mv_dec_blocks1\.", "aggregator.first."),
        (r"^mv_dec_blocks2\.", "aggregator.second."),
    )
)
SLAM3R_I2P = (
    SLAM3R
    + KeyMap(
        (
            (r"^corr_score_norm\.", "score.norm."),
            (r"^corr_score_proj\.fc1\.", "score.mlp.0."),
            (r"^corr_score_proj\.fc2\.", "score.mlp.2."),
        )
    )
    + CROCO
    + PAIR_CROSS
    + BLOCKS
    + POINT_HEADS
)
# L2W has no encoder; its checkpoint still holds one. "ponit" is the checkpoint's spelling.
SLAM3R_L2W = (
    SLAM3R
    + KeyMap(
        ((r"^ponit_embedder\.", "points.patch."), (r"^void_pe_token$", "points.void")),
        (r"patch_embed\..*", r"enc_blocks\..*"),
    )
    + PAIR_CROSS
    + BLOCKS
    + POINT_HEADS
)

IMAGE_SKIP = KeyMap(
    tuple(
        (rf"\.skip_proj\.{i}\.{part}\.", f".skip.layers.{3 * i + place}.")
        for i in range(4)
        for place, part in enumerate(("conv", "norm"))
    )
)
MVDUST3R = (
    KeyMap(
        (
            (r"^dec_same_view_blocks\.", "aggregator.across."),
            (r"^downstream_GS_head\.", "gaussians."),
            (r"^(gaussians\.\d)\.mlp_scale2\.", r"\1.scale."),
            (r"^(gaussians\.\d)\.mlp_", r"\1."),
        )
    )
    + CROCO
    + PAIR_CROSS
    + BLOCKS
    + POINT_HEADS
    + IMAGE_SKIP
)
