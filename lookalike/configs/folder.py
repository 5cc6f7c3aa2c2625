"""A shop's own folder of class folders, or a manifest: real photos, real reviewers.

    lookalike run --data ./photos --config folder --root ./workspace

Hardware: 2 CPU cores, 4 GiB. Time: about 6 minutes for 3,000 photos. Expect recall@1 by category around 0.75
on ten kinds of clothing.
"""

from lookalike.configs.settings import EvaluationSettings, ModelSettings, ReviewSettings, Settings, TrainingSettings

SETTINGS = Settings(
    model=ModelSettings(image_size_px=96, depth=18, width=32, embedding_dim=128),
    training=TrainingSettings(epochs=32, patience=32),
    evaluation=EvaluationSettings(min_accuracy=0.4, min_recall_at_1=0.3),
    review=ReviewSettings(num_queries=100, min_judged_queries=60, precision_floor=0.4),
)
