import pytest

from dgam_core.errors import InputError
from dgam_core.settings import LocalizationSettings, Settings, TrainingSettings, scalar


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().alpha = 1.0


def test_per_stream_values_are_resolved():
    settings = Settings(gamma_re={"rgb": 0.5, "flow": 0.3})
    assert settings.for_stream("flow").gamma_re == 0.3
    thresholds = Settings(attention_threshold={"rgb": (0.1, 0.2), "flow": 0.3})
    assert thresholds.for_stream("rgb").attention_threshold == (0.1, 0.2)
    assert Settings(gamma_re=0.4).for_stream("anything").gamma_re == 0.4
    with pytest.raises(InputError, match="gamma_re: no value for the stream 'depth', only for flow, rgb"):
        settings.for_stream("depth")
    with pytest.raises(AssertionError, match="for_stream"):
        scalar(settings.gamma_re)


def test_training_and_localization_share_no_setting_and_make_up_the_whole():
    training, localization = set(TrainingSettings.model_fields), set(LocalizationSettings.model_fields)
    assert not training & localization
    assert training | localization == set(Settings.model_fields)
    settings = Settings(alpha=0.7, eta=0.9)
    assert settings.training == TrainingSettings(alpha=0.7)
    assert settings.localization == LocalizationSettings(eta=0.9)


def test_there_is_a_checkpoint_at_regular_epochs_and_at_the_end():
    assert TrainingSettings(epochs=100, evaluation_interval=30).checkpoint_epochs == (30, 60, 90, 100)
    assert TrainingSettings(epochs=90, evaluation_interval=30).checkpoint_epochs == (30, 60, 90)
    assert TrainingSettings(epochs=5, evaluation_interval=30).checkpoint_epochs == (5,)


def test_a_second_model_doubles_the_work():
    assert TrainingSettings(epochs=5, held_out=0.0).total_epochs == 5
    assert TrainingSettings(epochs=5, held_out=0.1).total_epochs == 10


def test_a_setting_is_read_by_its_old_name_too():
    """papermill sets the old name beside the default of the new one."""
    assert TrainingSettings(look_epochs=7).evaluation_interval == 7
    assert TrainingSettings(evaluation_interval=17, look_epochs=7).evaluation_interval == 7
