"""Kinds of quiet wrong: what a training, an evaluation or a prediction could do without a word, and the test of each.

Nothing crashes in any of them; a number, a label or a file is merely not what somebody takes it for. The list is the
place to look for a kind before a new test is written, and to enter one. Each test named here makes its own input and
fails when the mended code is put back as it was.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

# ruff: noqa: E501 - a line a kind
KINDS = {
    # numbers of a training
    "a pixel that does not count has a gradient": "conformance/test_losses.py::test_ignored_pixels_have_no_gradient_and_no_influence",
    "half precision reaches the sums of a loss": "conformance/test_losses.py::test_half_precision_logits_are_computed_in_float32",
    "the order of images in a batch changes a loss": "conformance/test_losses.py::test_the_order_in_the_batch_changes_nothing",
    "an image without labels is a term of a mean": "losses/test_lovasz.py::test_per_image_is_the_mean_over_the_images_that_have_labels",
    "a divisor counts pixels that weigh nothing": "losses/test_cross_entropy.py::test_only_pixels_of_weight_zero_give_zero",
    "micro-batches of unequal size weigh alike": "engine/test_shares.py::test_accumulation_with_ignored_pixels_is_a_larger_batch",
    "a ratio of sums is averaged over processes": "losses/test_overlap.py::test_sums_of_two_processes_make_the_loss_of_one",
    "several processes train another net than one": "engine/test_processes.py::test_two_processes_are_one",
    "a number that is not finite reaches the weights": "engine/test_finite.py::test_the_weights_are_those_that_made_the_loss",
    "the innocent batch is blamed": "engine/test_step.py::test_the_micro_batch_at_fault_is_named_saved_and_replayed",
    "frozen statistics move": "engine/test_layer_depth_and_late_parts.py::test_frozen_batch_norms_stay_whatever_mode_is_asked_for",
    "a bias cancels in the norm behind it": "layers/test_conv.py::test_a_bias_stands_where_nothing_normalises_it_away",
    "the second pass of recomputed units counts statistics twice": "layers/test_recomputed.py::test_statistics_without_momentum_count_each_step_once",
    "compiling or memory order changes what is learnt": "engine/test_memory_order_and_compile.py::test_memory_order_changes_rounding_only_pooling_indices_included",
    "a continued training is another one": "engine/test_train.py::test_resumed_after_a_stop_is_the_uninterrupted_run",
    "moments of other parameters are taken over": "jobs/test_resume.py::test_moments_of_something_else_are_refused",
    "looking at a run changes it": "jobs/test_check_and_train.py::test_the_quick_check_leaves_model_and_random_state_alone",
    "averaged weights are not those that are measured": "engine/test_weight_average.py::test_what_is_measured_is_the_average",
    "epochs repeat the same pictures": "data/loading/test_loader.py::test_epochs_and_seeds_change_the_pictures",
    "the number of workers changes the pictures": "data/loading/test_loader.py::test_workers_change_nothing",
    "a drawing twice is no drawing": "data/loading/test_sampling.py::test_no_two_draws_are_augmented_alike",
    # numbers of an evaluation
    "an undefined number is a zero": "evaluators/test_semantic_evaluator.py::test_nothing_counted_is_undefined_not_zero",
    "a mean over images stands for the set": "evaluators/test_semantic_evaluator.py::test_it_is_not_the_mean_over_images",
    "pixels without an answer are left out of a score": "ops/test_confusion.py::test_pixels_without_an_answer_are_wrong_not_dropped",
    "a count no longer fits its numbers": "ops/test_confusion.py::test_views_and_counts_beyond_float32",
    "how images are batched changes a metric": "conformance/test_evaluators.py::test_one_batch_equals_many",
    "an image counts twice": "data/loading/test_loader.py::test_evaluation_refuses_what_would_falsify_it",
    "validation images are drawn at random": "engine/test_validation_loss.py::test_a_detectors_draws_are_its_images_own_and_leave_the_random_state",
    "an undefined metric is the best": "engine/test_early_stop.py::test_undefined_numbers_are_not_better",
    "the larger number is best where the smaller is": "engine/test_early_stop.py::test_of_errors_the_smallest_is_best",
    "a metric of one's own is not printed": "conformance/test_evaluators.py::test_its_numbers_are_seen",
    "a training that learnt nothing ends with a number": "quiet/test_a_training_that_learnt_nothing.py::test_a_label_map_of_one_class",
    "a class that is never found": "quiet/test_a_training_that_learnt_nothing.py::test_a_class_that_is_never_found",
    "the same images train and measure": "preflight/test_plan.py::test_the_same_images_to_train_and_to_measure",
    "an image stands in two splits under two names": "preflight/test_scan_splits.py::test_the_same_pixels_in_another_format",
    "how images are batched changes an evaluation": "engine/test_evaluation_and_batch_size.py::test_a_dense_nets_numbers_are_those_of_its_predictions",
    "an image without labels has a validation loss": "engine/test_validation_loss.py::test_an_image_without_a_label_is_in_no_mean",
    # labels
    "a label outside the classes becomes one of them": "mistakes/test_label_mistakes.py::test_a_training_stops_and_names_it",
    "labels are mixed where a map is resampled": "data/transforms/test_elastic.py::test_labels_are_never_mixed",
    "a picture moves and its annotation stays": "data/transforms/test_augment.py::test_everything_moves_together",
    "a mask's colours are taken for its labels": "data/images/test_read.py::test_palette_masks_give_indices",
    "sixteen bits become eight": "data/images/test_read.py::test_16_bit_masks_keep_their_values",
    "a camera's turn is applied to the picture alone": "data/images/test_read.py::test_exif_orientation_as_pillow_applies_it",
    "ids with gaps move the classes": "data/datasets/test_detection_datasets.py::test_coco_ids_with_gaps",
    "a class of the file is none of the config's": "data/datasets/test_detection_datasets.py::test_classes_are_matched_by_name_and_never_dropped",
    "crowds and difficult objects are background": "heads/test_rcnn.py::test_crowds_and_difficult_objects_are_not_background_unless_asked_for",
    "annotations are lost with `skip`": "quiet/test_labels_are_kept.py::test_an_annotation_of_no_image_stops_with_skip_too",
    "an image keeps some of its boxes": "quiet/test_labels_are_kept.py::test_an_image_is_left_out_whole_or_not_at_all",
    "a category stands twice": "quiet/test_labels_are_kept.py::test_a_category_name_that_stands_twice_stops_with_skip_too",
    "nothing to learn from": "quiet/test_labels_are_kept.py::test_a_split_without_a_single_target",
    "a convention of the whole set is judged box by box": "quiet/test_conventions_of_a_whole_set.py::test_another_convention_is_recognised",
    "a picture is its own mask": "quiet/test_text_is_taken_literally.py::test_a_picture_is_not_its_own_mask",
    "an id that only joins is refused or dropped": "quiet/test_labels_are_kept.py::test_ids_join_whatever_they_are",
    "a box is dropped although its outline is there": "quiet/test_labels_are_kept.py::test_a_missing_box_is_taken_from_the_outline",
    "images of a list that are gone": "quiet/test_labels_are_kept.py::test_images_of_a_list_that_are_missing_are_left_out_by_name",
    "an empty annotation is background": "quiet/test_labels_are_kept.py::test_an_empty_annotation_is_said",
    "labels in the alpha channel": "data/images/test_read.py::test_labels_in_the_alpha_channel_and_lossy_masks_are_refused",
    "values of a soft mask are classes": "data/formats/test_label_values.py::test_ranges_and_a_rest",
    "a list's second column is not the mask that is read": "quiet/test_text_is_taken_literally.py::test_a_list_that_names_other_masks_gets_those",
    # files
    "a library's limit is damage": "quiet/test_limits_are_not_damage.py::test_a_healthy_picture_above_the_limit_is_not_called_damaged",
    "a copy of a training picture measures": "quiet/test_data_of_a_run.py::test_a_picture_in_both_splits_is_refused",
    "a run goes on with fewer images": "quiet/test_data_of_a_run.py::test_a_resume_with_fewer_images_is_refused",
    "half of a picture is gray": "data/images/test_read.py::test_truncated_files_are_errors",
    "pages behind the first": "quiet/test_labels_are_kept.py::test_pages_that_are_not_read_are_said",
    "files that are not read": "quiet/test_labels_are_kept.py::test_links_formats_and_pipes_that_are_not_read_are_said",
    "characters of a name are syntax": "quiet/test_text_is_taken_literally.py::test_a_folder_that_exists_is_no_pattern",
    "a name in another Unicode form is another name": "quiet/test_text_is_taken_literally.py::test_unicode_forms_of_a_name_are_one_name",
    "a list is cut at blanks": "quiet/test_text_is_taken_literally.py::test_voc_lists_name_images_with_blanks_and_below_folders",
    "a remembered check of a file that has changed": "preflight/test_record_cache.py::test_a_file_of_the_same_size_and_time_is_read_again",
    "of two inputs of one name one result is left": "inference/writers/test_writers.py::test_no_two_inputs_share_an_output",
    "a run's folder is overwritten": "engine/test_train.py::test_a_used_folder_is_never_overwritten",
    "two trainings write into one folder": "engine/test_run_lock.py::test_a_second_training_and_a_resume_are_refused_and_write_nothing",
    # weights and predictions
    "classes of a checkpoint change their names": "mistakes/test_class_mistakes.py::test_a_checkpoint_keeps_its_classes",
    "rows of classes are matched by their place": "models/test_transfer.py::test_classes_keep_their_rows_by_name",
    "a training starts from weights of which nothing fits": "mistakes/test_class_mistakes.py::test_weights_of_another_head_do_not_start_a_training_silently",
    "pixels are scaled otherwise than the weights expect": "golden/test_classifiers.py::test_googlenets_pixels_are_scaled_as_its_published_weights_expect",
    "colours stand in another order": "models/test_vision_model.py::test_bgr_turns_the_channels_round_first",
    "neighbours in a batch change a prediction": "models/test_vision_model.py::test_an_images_prediction_does_not_depend_on_its_batch",
    "classes are compared before a map is enlarged": "ops/test_argmax.py::test_equals_resize_then_argmax_whatever_the_band",
    "seams of tiles": "inference/tiling/test_tiling.py::test_tiles_of_the_unet_that_are_not_aligned_would_differ",
    "height and width change places": "ops/test_boxes.py::test_clip_takes_height_first",
    "boxes are rounded in half precision": "engine/test_train_detection.py::test_mixed_precision_keeps_boxes_exact",
    "ids of results are not those of the data": "inference/writers/test_detections.py::test_coco_results_have_the_ids_of_the_training_data",
    "padding is a colour": "models/test_vision_model.py::test_padding_is_zero_after_normalisation_whatever_filled_it",
    "anchors leave the stride at odd sizes": "golden/test_fasterrcnn_torchvision.py::test_detections_are_torchvisions",
    "the range of a picture is assumed": "quiet/test_pictures_in_memory.py::test_the_range_of_float_images_is_looked_at",
    "a prediction in training mode": "quiet/test_pictures_in_memory.py::test_predicting_a_batch_in_training_mode_is_said",
    # what is said
    "a loss cannot be divided among processes": "preflight/test_plan.py::test_losses_that_differ_when_a_batch_is_divided",
    "a limit is told as damage": "report/check/test_check_page.py::test_words_of_a_decoder_do_not_reach_the_page_and_a_limit_is_no_damage",
    "a mistyped key is none": "mistakes/test_key_mistakes.py::test_a_mistyped_key",
    "a number in a config is text": "config/test_source.py::test_numbers_and_words_are_what_users_mean",
    "what a message leaves out": "quiet/test_nothing_is_cut_in_silence.py::test_a_text_of_the_first_few_says_that_there_are_more",
    "a systematic fault loses its reason": "quiet/test_labels_are_kept.py::test_when_every_image_is_at_fault_the_reason_is_told",
    "a description leaves layers away": "analysis/test_description.py::test_python",
    "memory is told of another training": "analysis/test_description.py::test_recomputing_units_is_counted",
}


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_its_test(kind: str) -> None:
    path, _, name = KINDS[kind].partition("::")
    assert name in names_in(path)


def test_each_kind_has_a_test_of_its_own() -> None:
    assert len(set(KINDS.values())) == len(KINDS) >= 40
