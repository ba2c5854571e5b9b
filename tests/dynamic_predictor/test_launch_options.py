"""DAS3R's own command lines of the evaluation."""

import pytest

from dynamic_predictor.launch_options import parse_options


def test_the_line_of_das3r_for_davis(capsys: pytest.CaptureFixture[str]) -> None:
    """As its README has it: --evaluate_davis has no effect, and a sentence says what has."""
    line = "--mode=eval_pose --pretrained=Kai422kx/das3r --eval_dataset=davis --output_dir=results/davis"
    options = parse_options([*line.split(), "--use_pred_mask", "--evaluate_davis"])
    assert options.eval_dataset == "davis"
    assert "--evaluate_davis has no effect here" in capsys.readouterr().err
