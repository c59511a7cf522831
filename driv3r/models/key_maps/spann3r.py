"""Key map of Spann3R's and Driv3R's official checkpoints."""

from driv3r.models.key_maps.base import DUST3R, KeyMap

# The prefix goes for DUSt3R's own names to be found, and comes back as ours. The value encoder's
# blocks have no cross-attention, whose norm is called norm2 in decoder blocks.
SPANN3R = (
    KeyMap(
        (
            (r"^dust3r\.", ""),
            (r"^attn_head_1\.", "key_first."),
            (r"^attn_head_2\.", "key_second."),
            (r"^pos_patch_embed\.proj\.", "value.patch."),
            (r"^value_encoder\.(\d+)\.norm2\.", r"value_encoder.\1.norm_mlp."),
            (r"^value_encoder\.", "value.blocks."),
            (r"^value_(norm|out)\.", r"value.\1."),
            (r"^norm_q\.", "memory.norm_query."),
            (r"^norm_k\.", "memory.norm_key."),
            (r"^norm_v\.", "memory.norm_value."),
        ),
        (r"dust3r\.mask_token", r"dust3r\.prediction_head\..*"),
    )
    + DUST3R
    + KeyMap(((r"^(encoder|aggregator|heads)\.", r"pair.\1."),))
)
