"""A large catalogue on Kubeflow / Vertex, reviewed by a team on PostgreSQL.

    lookalike compile --config production --image IMAGE --pipeline-root gs://BUCKET/lookalike

Hardware: a Beam runner of your choice, one training machine; not timed here.
"""

from lookalike.configs.settings import (
    EvaluationSettings,
    IngestSettings,
    ModelSettings,
    ReviewSettings,
    Settings,
    TrainingSettings,
)

SETTINGS = Settings(
    ingest=IngestSettings(longest_side_px=320, eval_fraction=0.05),
    model=ModelSettings(image_size_px=224, depth=34, width=64, embedding_dim=256),
    training=TrainingSettings(epochs=90, batch_size=256, patience=15),
    evaluation=EvaluationSettings(min_accuracy=0.5, min_recall_at_1=0.5, max_recall_loss=0.01),
    review=ReviewSettings(num_queries=600, min_judged_queries=560, precision_floor=0.5),
)
