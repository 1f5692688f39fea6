"""The baseline steadied by the package's ready-made fields: chains over a whole video. Nothing is
trained here, so for --eval-only; ``model.weights`` are those of the baseline."""

from detectron2.config import LazyCall as L

from videogcrf_det.modeling.video_model import steady_detector

from .mask_rcnn_R_50_FPN import dataloader, model, train

dataloader.test.mapper.image_format = model.input_format
del dataloader.train
model = L(steady_detector)(
    model=model,
    weights="output/lazy/mask_rcnn_R_50_FPN/model_final.pth",
    fields="ready-made",
    latency=1,
)
train.init_checkpoint = ""  # the model loads its weights itself
train.output_dir = "output/lazy/mask_rcnn_R_50_FPN_steady"
