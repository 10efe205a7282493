"""Temperature scaling of finished runs: found, fitted on other examples, and withheld where it means nothing."""

import numpy as np
import pytest

from made_runs import LABELS, make_rows, number_rows, outcomes, write_attack, write_run
from rosetune.robustness.calibration import calibration_metrics, fit_temperature, negative_log_likelihood
from rosetune.runs.calibration import calibrations


def scaled_rows(name, n, seed, factor=3.0):
    """Calibrated logits, so many times too large."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.5, 1, n)
    rows = make_rows(name, rng.random(n) < p)
    for row, share in zip(rows, p, strict=True):
        row["logits"] = [factor * np.log(share / (1 - share)) * (row["prediction"] == label) for label in LABELS]
    return rows


def test_temperature_is_found_and_mends_calibration(tmp_path):
    run = write_run(tmp_path / "a", {"clean": scaled_rows("clean", 4000, 0)})
    found = calibrations([run])["clean"]
    assert found["temperature"] == pytest.approx(3, rel=0.1)
    assert found["after"]["ece"] < 0.03 < 0.1 < found["before"]["ece"]


def test_temperature_is_fitted_on_other_examples(tmp_path):
    """Few examples: a temperature that had seen them would fit them better than any other."""
    rng = np.random.default_rng(1)
    rows = make_rows("clean", rng.random(12) < 0.5)
    for row in rows:
        row["logits"] = (rng.exponential(4) * np.array([row["prediction"] == label for label in LABELS])).tolist()
    scored, gold = np.array([row["logits"] for row in rows]), [LABELS.index(row["gold"]) for row in rows]
    on_itself = fit_temperature(scored, gold)
    found = calibrations([write_run(tmp_path / "a", {"clean": rows})])["clean"]
    assert found["after"]["nll"] > negative_log_likelihood(scored / on_itself, gold)


def test_noise_shares_the_halves_and_other_sets_take_all_clean_examples(tmp_path):
    """Noise of a text and the text are one example; AdvGLUE's items are others."""
    clean, advglue = scaled_rows("clean", 400, 2), scaled_rows("advglue", 50, 3)
    for row in advglue:
        row["id"] = f"adv-{row['id']}"
    noisy = [{**row, "set": "typos_1"} for row in clean]
    found = calibrations([write_run(tmp_path / "a", {"clean": clean, "typos_1": noisy, "advglue": advglue})])
    assert found["typos_1"] == found["clean"]
    gold = [LABELS.index(row["gold"]) for row in clean]
    of_all = fit_temperature([row["logits"] for row in clean], gold)
    assert found["advglue"]["temperature"] == of_all
    assert found["clean"]["temperature"] != of_all
    expected = calibration_metrics(
        np.array([row["logits"] for row in advglue]) / of_all, [LABELS.index(row["gold"]) for row in advglue]
    )
    assert found["advglue"]["after"] == expected


def test_the_halves_follow_the_ids_and_not_the_order(tmp_path):
    rows = scaled_rows("clean", 60, 4)
    a, b = (
        calibrations([write_run(tmp_path / name, {"clean": part})]) for name, part in (("a", rows), ("b", rows[::-1]))
    )
    assert a["clean"]["temperature"] == pytest.approx(b["clean"]["temperature"])


def test_a_model_without_an_error_has_no_temperature(tmp_path):
    """Any small one would do, and divide its confidence away."""
    run = write_run(tmp_path / "a", {"clean": outcomes(20), "typos_1": outcomes(15, 5)})
    found = calibrations([run])
    for name in ("clean", "typos_1"):
        assert found[name]["temperature"] is None
        assert found[name]["after"] is None
        assert found[name]["before"]["ece"] > 0


def test_over_seeds_the_mean(tmp_path):
    runs = [
        write_run(tmp_path / f"a{seed}", {"clean": scaled_rows("clean", 100, seed)}, {"seed": seed}) for seed in (1, 2)
    ]
    each, found = [calibrations([run])["clean"] for run in runs], calibrations(runs)["clean"]
    assert found["temperature"] == pytest.approx(np.mean([one["temperature"] for one in each]))
    for state in ("before", "after"):
        assert found[state]["ece"] == pytest.approx(np.mean([one[state]["ece"] for one in each]))
    perfect = write_run(tmp_path / "a3", {"clean": outcomes(100)}, {"seed": 3})
    assert calibrations([*runs, perfect])["clean"]["temperature"] is None


def test_what_has_none(tmp_path):
    few = write_run(tmp_path / "few", {"clean": outcomes(2, 1)})
    numbers = write_run(tmp_path / "numbers", {"clean": number_rows("clean", range(9), range(9))}, labels=())
    unclean = write_run(tmp_path / "unclean", {"typos_1": outcomes(9, 9)})
    assert calibrations([few]) == calibrations([numbers]) == calibrations([unclean]) == {}
    sets = {"clean": outcomes(6, 4), "ocr@0.5": outcomes(6, 4)}
    run = write_run(tmp_path / "a", sets)
    write_attack(run, ["failed"] * 4)
    assert calibrations([run]).keys() == {"clean"}
