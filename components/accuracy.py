"""What TFMA measures of the classifier, and the floor it must reach."""

from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from transform import features

ACCURACY = "SparseCategoricalAccuracy"
OVERALL = "overall"


def accuracy_eval_config(min_accuracy: float) -> config_pb2.EvalConfig:
    """Accuracy over labelled images, sliced by category and domain, with a floor for the overall slice alone.

    A floor for every slice would let one rare category stop a release; slices are there to be looked at.
    """
    floor = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": min_accuracy})
    )
    overall = config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=floor)
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name=features.EVALUATE_SIGNATURE,
                preprocessing_function_names=[features.TRANSFORM_SIGNATURE],
                label_key=features.LABEL_ID,
                prediction_key=features.PROBABILITIES,
                example_weight_key=features.LABEL_WEIGHT,
            )
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[features.CATEGORY]),
            config_pb2.SlicingSpec(feature_keys=[features.DOMAIN]),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(class_name="ExampleCount"),
                    config_pb2.MetricConfig(class_name=ACCURACY, per_slice_thresholds=[overall]),
                ]
            )
        ],
    )


def why_not_blessed(evaluation_uri: str) -> str:
    """What TFMA found too low, against which setting, and what to do.

    evaluation_uri: of the Evaluator's ModelEvaluation, whose blessing was withheld.
    """
    slices = tfma.load_validation_result(evaluation_uri).metric_validations_per_slice
    failures = [failure for validated in slices for failure in validated.failures]
    if not failures:
        return "the classifier was not measured: expected labelled images in the split test, got none"
    floor = failures[0].metric_threshold.value_threshold.lower_bound.value
    got = failures[0].metric_value.double_value.value
    return (
        f"the classifier must be right on at least {floor:g} of the labelled held-out images (evaluation.min_accuracy),"
        f" got {got:.3g}: train for longer, state more labelled products, or lower it"
    )


def accuracy_by_slice(evaluation_uri: str) -> list[dict[str, Any]]:
    """What TFMA measured, to be looked at: slice, number of labelled images, accuracy; overall first, then by name.

    evaluation_uri: of the Evaluator's ModelEvaluation.
    """
    rows = []
    for keys, metrics in tfma.load_eval_result(evaluation_uri).slicing_metrics:
        [values] = [named for by_output in metrics.values() for named in by_output.values()]
        rows.append(
            {
                "slice": ", ".join(f"{feature} {value}" for feature, value in keys) or OVERALL,
                "images": round(values["example_count"]["doubleValue"]),
                "accuracy": round(values["sparse_categorical_accuracy"]["doubleValue"], 3),
            }
        )
    return sorted(rows, key=lambda row: (row["slice"] != OVERALL, row["slice"]))
