"""A drawn catalogue of 240 products, from nothing to a searchable release.

    make demo        (or: lookalike demo --root ./demo)

Hardware: 2 CPU cores, 4 GiB. Time: about 5 minutes. Expect recall@1 by product of wild photos around 0.6, where colour
histograms reach 0.04.
"""

from lookalike.configs.settings import (
    EvaluationSettings,
    ModelSettings,
    ReviewSettings,
    Settings,
    TrainingSettings,
)

SETTINGS = Settings(
    model=ModelSettings(image_size_px=96, depth=10, width=32, embedding_dim=128),
    training=TrainingSettings(epochs=60, patience=60),
    evaluation=EvaluationSettings(min_accuracy=0.3, min_recall_at_1=0.3),
    review=ReviewSettings(num_queries=60, min_judged_queries=40, precision_floor=0.2, allow_simulated=True),
)
