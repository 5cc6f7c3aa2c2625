"""What TFMA measures of the classifier, and the floor it must reach."""

import tensorflow_model_analysis as tfma

from transform import features

ACCURACY = "SparseCategoricalAccuracy"


def accuracy_eval_config(min_accuracy: float) -> tfma.EvalConfig:
    """Accuracy over labelled images, sliced by category and domain, with a floor for the overall slice alone.

    A floor for every slice would let one rare category stop a release; slices are there to be looked at.
    """
    floor = tfma.MetricThreshold(value_threshold=tfma.GenericValueThreshold(lower_bound={"value": min_accuracy}))
    overall = tfma.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=floor)
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name=features.EVALUATE_SIGNATURE,
                preprocessing_function_names=[features.TRANSFORM_SIGNATURE],
                label_key=features.LABEL_ID,
                prediction_key=features.PROBABILITIES,
                example_weight_key=features.LABEL_WEIGHT,
            )
        ],
        slicing_specs=[
            tfma.SlicingSpec(),
            tfma.SlicingSpec(feature_keys=[features.CATEGORY]),
            tfma.SlicingSpec(feature_keys=[features.DOMAIN]),
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(class_name="ExampleCount"),
                    tfma.MetricConfig(class_name=ACCURACY, per_slice_thresholds=[overall]),
                ]
            )
        ],
    )
