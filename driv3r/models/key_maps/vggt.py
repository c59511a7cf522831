"""Key map of VGGT's official checkpoint."""

from driv3r.models.key_maps.base import VIT_BLOCK, KeyMap

# The tracker uses torch.nn.MultiheadAttention, which stacks queries, keys and values like qkv.
TRACKER = KeyMap(
    (
        (r"^track_head\.feature_extractor\.", "tracks.features."),
        (r"^track_head\.tracker\.", "tracks.tracker."),
        (r"\.updateformer\.", ".former."),
        (r"\.former\.input_norm\.", ".former.norm_in."),
        (r"\.former\.input_transform\.", ".former.project."),
        (r"\.former\.output_norm\.", ".former.norm."),
        (r"\.former\.flow_head\.", ".former.out."),
        (r"\.former\.virual_tracks$", ".former.virtual_tracks"),
        (r"\.former\.time_blocks\.", ".former.time."),
        (r"\.former\.space_virtual2point_blocks\.", ".former.virtual_from_point."),
        (r"\.former\.space_virtual_blocks\.", ".former.virtual_self."),
        (r"\.former\.space_point2virtual_blocks\.", ".former.point_from_virtual."),
        (r"\.(?:cross_)?attn\.in_proj_", ".attention.qkv."),
        (r"\.(?:cross_)?attn\.out_proj\.", ".attention.out."),
        (r"\.corr_mlp\.fc1\.", ".compare.0."),
        (r"\.corr_mlp\.fc2\.", ".compare.2."),
        (r"\.query_ref_token$", ".role"),
        (r"\.fmap_norm\.", ".norm_map."),
        (r"\.ffeat_norm\.", ".norm_change."),
        (r"\.ffeat_updater\.0\.", ".change."),
        (r"\.vis_predictor\.0\.", ".visibility_head."),
        (r"\.conf_predictor\.0\.", ".confidence_head."),
    )
)
CAMERA = KeyMap(
    (
        (r"^camera_head\.", "camera."),
        (r"^camera\.token_norm\.", "camera.norm_tokens."),
        (r"^camera\.trunk_norm\.", "camera.norm."),
        (r"^camera\.trunk\.", "camera.blocks."),
        (r"^camera\.empty_pose_tokens$", "camera.start"),
        (r"^camera\.embed_pose\.", "camera.embed."),
        (r"^camera\.poseLN_modulation\.1\.", "camera.modulate."),
        (r"^camera\.pose_branch\.fc1\.", "camera.out.0."),
        (r"^camera\.pose_branch\.fc2\.", "camera.out.2."),
    )
)
DENSE_HEADS = KeyMap(
    (
        (r"^(depth|point)_head\.scratch\.output_conv2\.", r"\1_head.head."),
        (r"^depth_head\.", "depth."),
        (r"^point_head\.", "points."),
        (r"\.projects\.", ".project."),
        (r"\.resize_layers\.", ".resize."),
        *((rf"\.scratch\.layer{i + 1}_rn\.", f".narrow.{i}.") for i in range(4)),
        *((rf"\.scratch\.refinenet{i + 1}\.", f".fuse.{i}.") for i in range(4)),
        (r"\.scratch\.output_conv1\.", ".smooth."),
        (r"\.resConfUnit1\.", ".before."),
        (r"\.resConfUnit2\.", ".after."),
        (r"\.out_conv\.", ".out."),
        (r"\.(before|after)\.conv1\.", r".\1.first."),
        (r"\.(before|after)\.conv2\.", r".\1.second."),
    )
)
TRUNK = KeyMap(
    (
        (r"^aggregator\.patch_embed\.patch_embed\.proj\.", "encoder.patch."),
        (r"^aggregator\.patch_embed\.cls_token$", "encoder.cls_token"),
        (r"^aggregator\.patch_embed\.register_tokens$", "encoder.registers"),
        (r"^aggregator\.patch_embed\.pos_embed$", "encoder.pos_embed"),
        (r"^aggregator\.patch_embed\.", "encoder."),
        (r"^aggregator\.camera_token$", "aggregator.camera"),
        (r"^aggregator\.register_token$", "aggregator.registers"),
        (r"^aggregator\.frame_blocks\.", "aggregator.within."),
        (r"^aggregator\.global_blocks\.", "aggregator.among."),
    ),
    # Only DINOv2's own training hides patches.
    (r"aggregator\.patch_embed\.mask_token",),
)
GAINED_BLOCK = KeyMap(
    (
        (r"\.attn\.q_norm\.", ".attention.norm_query."),
        (r"\.attn\.k_norm\.", ".attention.norm_key."),
        (r"\.ls1\.gamma$", ".gain_attention.gain"),
        (r"\.ls2\.gamma$", ".gain_mlp.gain"),
        (r"\.norm2\.", ".norm_mlp."),
    )
)
VGGT = TRUNK + CAMERA + DENSE_HEADS + TRACKER + GAINED_BLOCK + VIT_BLOCK
