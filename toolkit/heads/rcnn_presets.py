"""Values of the published Faster R-CNN recipes for the head `rcnn`, whose own defaults are torchvision's.

Use them as `RcnnHead(spec, 20, **FASTER_RCNN_2015)`; a config spells out the same values.
"""

from __future__ import annotations

from typing import Any

from toolkit.heads.roi import DetectionSettings, PoolSettings, RoiSettings
from toolkit.heads.rpn import AnchorSettings, ProposalSettings, RpnSettings

FASTER_RCNN_2015: dict[str, Any] = {
    "rpn": RpnSettings(
        anchors=AnchorSettings(scales=(8.0, 16.0, 32.0), style="caffe"),
        proposals=ProposalSettings(
            before_train=12000,
            after_train=2000,
            before_test=6000,
            after_test=300,
            min_side=16,
            min_side_in="original",
            min_side_first=True,
        ),
        objectness="softmax",
        inside_only=True,
    ),
    "roi": RoiSettings(pooling=PoolSettings(kind="max"), hidden=4096, dropout=0.5, samples=128, box_beta=1.0),
    "test": DetectionSettings(nms_iou=0.3, min_side=0.0),
    "convention": "plus_one",
    "unclear": "background",
}
"""py-faster-rcnn, models/pascal_voc/VGG16/faster_rcnn_end2end and lib/fast_rcnn/config.py, on one map of stride 16.
Its COCO models have scales 4, 8, 16, 32."""

DETECTRON2_FPN: dict[str, Any] = {
    "rpn": RpnSettings(
        anchors=AnchorSettings(style="detectron2"),
        proposals=ProposalSettings(after_train=1000, min_side=0.0),
        box_beta=0.0,
    ),
    "roi": RoiSettings(pooling=PoolSettings(kind="align_half_pixel", sampling=0), boxes="class", box_beta=0.0),
    "test": DetectionSettings(min_side=0.0),
    "unclear": "background",
}
"""detectron2, configs/COCO-Detection/faster_rcnn_R_50_FPN and detectron2/config/defaults.py."""
