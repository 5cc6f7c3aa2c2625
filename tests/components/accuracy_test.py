import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_specs

from components.accuracy import accuracy_eval_config
from transform import features


def metrics_with_thresholds(config):
    return [metric for spec in config.metrics_specs for metric in spec.metrics if metric.per_slice_thresholds]


def test_only_the_overall_slice_has_a_floor():
    [metric] = metrics_with_thresholds(accuracy_eval_config(0.3))
    assert metric.class_name == "SparseCategoricalAccuracy"
    [per_slice] = metric.per_slice_thresholds
    assert list(per_slice.slicing_specs) == [tfma.SlicingSpec()]
    assert per_slice.threshold.value_threshold.lower_bound.value == 0.3


@pytest.mark.parametrize("min_accuracy", [0.0, 0.5, 1.0])
def test_a_config_always_has_a_threshold(min_accuracy):
    """TFX's Evaluator blesses whatever it gets where there is none."""
    [metric] = metrics_with_thresholds(accuracy_eval_config(min_accuracy))
    bound = metric.per_slice_thresholds[0].threshold.value_threshold
    assert bound.HasField("lower_bound")
    assert bound.lower_bound.value == min_accuracy


def test_categories_and_domains_are_there_to_be_looked_at():
    slices = [list(spec.feature_keys) for spec in accuracy_eval_config(0.3).slicing_specs]
    assert slices == [[], [features.CATEGORY], [features.DOMAIN]]


def test_the_model_is_asked_through_its_own_preprocessing_and_unlabelled_images_weigh_nothing():
    [model] = accuracy_eval_config(0.3).model_specs
    assert model.signature_name == "evaluate"
    assert list(model.preprocessing_function_names) == ["transform_features"]
    assert (model.label_key, model.example_weight_key) == ("label_id", "label_weight")


@pytest.mark.parametrize(("accuracy", "blessed"), [(0.29, False), (0.3, True)])
def test_tfma_blesses_by_the_overall_accuracy_alone(accuracy, blessed):
    config = tfma.utils.update_eval_config_with_defaults(accuracy_eval_config(0.3), has_baseline=False)
    [key] = metric_specs.metric_thresholds_from_metrics_specs(config.metrics_specs, config)
    assert metrics_validator.validate_metrics(((), {key: accuracy}), config).validation_ok is blessed
    rare_category = (((features.CATEGORY, "Rare"),), {key: 0.0})
    assert metrics_validator.validate_metrics(rare_category, config).validation_ok
    assert metrics_validator.get_missing_slices([], config) == [tfma.SlicingSpec()]  # nothing measured, not blessed
